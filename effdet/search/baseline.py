"""What a found network is compared with: its base, scaled to the same multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backbones.scaling import BackboneSpec, round_filters
from backbones.tables import ALPHA, BETA

STEPS = [step / 20 for step in range(-80, 81)]
"""Of compound scaling, in width and depth together; at 0 it is the base."""
APART = (0.0, -0.5, 0.5, -1.0, 1.0)
"""Steps that depth may be ahead: whole layers and rounded widths alone leave gaps of a tenth in the cost."""


def equal_macs_baseline(
    base: BackboneSpec, macs: Callable[[BackboneSpec], float], *, target: float, divisor: int = 8
) -> BackboneSpec:
    """`base` with the width and depth of compound scaling whose `macs` come nearest to `target`.

    Stem, head and input size stay those of the base, as they do in a search.
    """
    found: dict[BackboneSpec, float] = {}
    pairs = ((step, step + ahead) for step in STEPS for ahead in APART)
    for width, depth in sorted(
        pairs, key=lambda pair: abs(pair[0]) + abs(pair[1])
    ):  # of equals the nearest to the base
        spec = _scaled(base, BETA**width, ALPHA**depth, divisor)
        if spec not in found:
            found[spec] = macs(spec)
    best = min(found, key=lambda spec: abs(found[spec] - target))
    return replace(best, name=f"{base.name}-baseline")


def _scaled(base: BackboneSpec, width: float, depth: float, divisor: int) -> BackboneSpec:
    stages = tuple(
        replace(
            stage,
            channels=stage.channels if width == 1 else round_filters(stage.channels, width, divisor=divisor),
            repeats=max(1, round(stage.repeats * depth)),
        )
        for stage in base.stages
    )
    return replace(base, stages=stages)
