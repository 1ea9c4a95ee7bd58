"""What a training starts from: ``weights=auto-cached``, ``auto``, ``none``, a name or a file."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel

from effdet.cli.ranks import is_first
from effdet.model import ModelSpec, VisionModel
from effdet.weights import load_weights, names
from effdet.weights.names import NamedWeights
from effdet.weights.report import LoadReport

NOTHING = (None, "none")


def candidates(spec: ModelSpec) -> list[NamedWeights]:
    """Published weights for `spec`, those for the whole detector before those for its backbone, the best first."""
    backbone = [row for row in names.for_model(spec.backbone.name) if row.model != spec.name]
    return [*names.for_model(spec.name), *backbone]


def start_from(
    model: VisionModel, weights: str | None, *, conventions: str | None, strict: bool, trust: bool
) -> LoadReport | None:
    """Load what `weights` says into `model`, and say so; None where it stays random.

    Args:
        model: freshly built.
        weights: ``auto-cached`` takes the best that is on this disk, and warns where there is none; ``auto`` fetches the best;
            ``none`` or None stays random; else a path or a published name.
    """
    if weights in NOTHING:
        if is_first():
            print("weights: random, as asked")
        return None
    source = weights
    if weights in ("auto", "auto-cached"):
        rows = candidates(model.spec)
        row = next((row for row in rows if row.cached() is not None), None)
        if row is None and weights == "auto" and rows:
            row = rows[0]
        if row is None:
            _warn_random(model.spec, rows)
            return None
        source = row.name
    assert source is not None
    report = load_weights(model, source, strict=strict, trust=trust, conventions=conventions)
    if is_first():
        print(report)
    return report


def _warn_random(spec: ModelSpec, rows: list[NamedWeights]) -> None:
    if rows:
        fix = f"weights=auto fetches {rows[0].name}"
    else:
        fix = f"nothing is published for {spec.name}; weights=FILE takes a file of yours"
    text = f"This training starts from random weights: it needs many times the epochs, and ends lower. {fix}."
    if is_first():
        Console(stderr=True).print(Panel(text, title="warning: random weights", style="yellow"))
