"""What the end of a run says of its beginning: from which metric to which, and what to do where it became worse."""

from __future__ import annotations

from pathlib import Path

from effdet.training import FitResult, FitSettings
from effdet.training.monitor import monitor_mode

ROUNDING = 1e-4
"""Differences below are not worth a warning."""
FINE_TUNING = "optimizer=adamw optimizer.lr=1e-4 optimizer.backbone_lr_scale=0.1 freeze=bn augment=light ema=0.998"
"""Overrides for fine-tuning from detection weights; docs/training.md explains them and a test holds the two equal."""


def best_of(result: FitResult, path: str | Path) -> str:
    """Such as ``best: 0.6430 in checkpoints/best.ckpt``, and what that file is where nothing could be measured."""
    if result.best_score is None:
        return f"best: not known, since nothing in val measures {result.monitor}; the newest weights are in {path}"
    return f"best: {result.best_score:.4f} in {path}"


def from_start_to_best(result: FitResult) -> str | None:
    """Such as ``AP: 0.6000 at the start -> 0.6430 at best``; None where the start was not evaluated."""
    if result.start_score is None or result.best_score is None:
        return None
    return f"{result.monitor}: {result.start_score:.4f} at the start -> {result.best_score:.4f} at best"


def made_worse(result: FitResult, settings: FitSettings, weights: str | Path | None) -> str | None:
    """A warning where the best of the run is worse than the weights that it started from, and what to do."""
    if result.start_score is None or result.best_score is None:
        return None
    gained = result.best_score - result.start_score
    if (settings.monitor_mode or monitor_mode([str(result.monitor)])) == "min":
        gained = -gained
    if gained >= -ROUNDING:
        return None
    return (
        f"training made the model worse: {result.monitor} {result.start_score:.4f} at the start, {result.best_score:.4f} at "
        f"best. The starting weights ({weights}) are the better model. Train again with {FINE_TUNING} (here: optimizer="
        f"{settings.optimizer.name} optimizer.lr={settings.optimizer.lr:g}), or with a lower optimizer.lr where you did"
    )
