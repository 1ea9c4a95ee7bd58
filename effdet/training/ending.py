"""Whether the run of a checkpoint is over: then a restart trains nothing and replaces nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from effdet.training.callbacks.early_stopping import EarlyStopping
from effdet.training.callbacks.limits import SECONDS
from effdet.training.callbacks.saver import CheckpointSaver
from effdet.training.monitor import measured
from effdet.training.resume_point import ResumePoint
from effdet.training.settings import FitSettings


@dataclass(frozen=True)
class Ended:
    """A run that has reached its end."""

    reason: str
    """``finished`` (all epochs), ``early stopping``, ``time`` or ``steps``."""
    steps: int
    epochs: int
    """Begun or whole."""
    metrics: dict[str, Any]
    """Numbers of the last evaluation."""
    best_score: float | None
    advice: str
    """What to raise to go on."""


def ended(checkpoint: Mapping[str, Any], settings: FitSettings) -> Ended | None:
    """The end that the run saved in `checkpoint` has reached by what `settings` ask for; None where there is more to do.

    The settings count, not those that the run was begun with: more epochs, steps, time or patience let it go on.
    """
    place = ResumePoint.from_dict(checkpoint["resume_point"])
    if place.batch > 0 and not place.evaluated:
        return None  # an evaluation may be due here
    states, trainer = checkpoint["callbacks"], settings.trainer
    steps, epochs = int(checkpoint["global_step"]), place.epoch
    max_epochs, max_steps = trainer.get("max_epochs"), settings.max_steps
    waited = states.get(EarlyStopping.__name__, {}).get("waited", 0)
    early = settings.early_stopping
    stopping = EarlyStopping(
        "", patience=early.patience, min_epochs=trainer.get("min_epochs"), min_steps=trainer.get("min_steps")
    )
    if max_epochs not in (None, -1) and epochs >= max_epochs:
        reason, advice = "finished", f"trainer.max_epochs (now {max_epochs})"
    elif max_steps is not None and steps >= max_steps:
        reason, advice = "steps", f"trainer.max_steps (now {max_steps})"
    elif settings.max_seconds is not None and checkpoint.get(SECONDS, 0.0) >= settings.max_seconds:
        reason, advice = "time", f"trainer.max_time (now {trainer['max_time']})"
    elif stopping.spent(waited, epochs=epochs, steps=steps):
        reason, advice = "early stopping", f"early_stopping.patience (now {early.patience})"
    else:
        return None
    best = states.get(CheckpointSaver.__name__, {}).get("best_score")
    best = None if best is None else measured(best)
    return Ended(reason, steps, epochs + (place.batch > 0), dict(checkpoint.get("metrics", {})), best, advice)
