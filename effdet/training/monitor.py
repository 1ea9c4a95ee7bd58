"""The number that decides ``best.ckpt``: a metric of the evaluation, or the mean of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from effdet.evaluation.loss import SUFFIX
from effdet.tasks import chief_metrics, kits_of
from heads.structures import UserError

NOT_MEASURED = -1.0
"""What COCO's evaluation gives where there is no truth to measure a metric on; no metric of ours is below 0."""


def monitored(chosen: Sequence[str], model: Any) -> tuple[str, ...]:
    """The metrics that decide: `chosen`, or the chief metric of each head that has one, see `chief_metrics`."""
    if chosen:
        return tuple(name.removeprefix("val/") for name in chosen)
    return tuple(chief_metrics(kits_of(model)))


def monitor_mode(names: Sequence[str]) -> str:
    """``min`` where a loss decides, else ``max``.

    Raises:
        UserError: losses and other metrics have no mean.
    """
    losses = [name for name in names if name.endswith(SUFFIX)]
    if losses and len(losses) < len(names):
        raise UserError(f"monitor: {losses[0]} is better when lower, the others when higher; take one of both kinds")
    return "min" if losses else "max"


def monitor_name(names: str | Sequence[str]) -> str:
    """The metric's own name, or ``mean_AP_mIoU`` for the mean of two."""
    if isinstance(names, str):
        return names
    return names[0] if len(names) == 1 else "_".join(("mean", *names))


def with_mean(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`metrics`, and the mean of `names` where they are several.

    Raises:
        UserError: one of several is not there.
    """
    if len(names) < 2:
        return dict(metrics)
    if missing := [name for name in names if name not in metrics]:
        known = ", ".join(name for name, value in metrics.items() if isinstance(value, (int, float)))
        raise UserError(f"monitor: {missing[0]} is not among the metrics of the evaluation: {known or 'none'}")
    # COCO's -1 says that there was nothing to find: it counts as nothing found, unless that holds for all.
    values = [float(metrics[name]) for name in names]
    if all(measured(value) is None for value in values):
        return {**metrics, monitor_name(names): NOT_MEASURED}
    return {**metrics, monitor_name(names): sum(max(value, 0.0) for value in values) / len(names)}


def measured(score: Any) -> float | None:
    """A metric as a score to compare; None where nothing was measured: NaN, or COCO's -1 for a set without any truth."""
    value = float(score)
    return None if value != value or value == NOT_MEASURED else value


def shown_score(score: Any) -> str:
    """Four decimals; an en dash where nothing was measured."""
    value = measured(score)
    return "–" if value is None else f"{value:.4f}"


def beats(score: float, best: float | None, mode: str, *, least: float = 0.0) -> bool:
    """Whether `score` is better than `best` by more than `least`; `mode` is ``max`` or ``min``, and any beats None."""
    return best is None or (score - best if mode == "max" else best - score) > least


def is_number(value: Any) -> bool:
    """Whether an entry of an evaluation's result is a metric to log, and not a table."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
