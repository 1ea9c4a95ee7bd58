"""The end of a run: after steps, after a time, or when evaluations get no better; and whether a checkpoint's run is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from effdet.training.callbacks.saver import CheckpointSaver
from effdet.training.lightning_internals import is_within_step
from effdet.training.monitor import beats, measured
from effdet.training.resume_point import ResumePoint
from effdet.training.settings import FitSettings

SECONDS = "seconds"
"""Where a checkpoint holds how long its run has taken so far."""


class RunLimits(Callback):
    """Ends the run after `steps` optimiser steps, or at the first step after `seconds` of training.

    In place of the trainer's ``max_steps``, which turns on another way of counting on restart and ends a run without its
    evaluation, and of its ``max_time``, which stops in mid-accumulation. Both are hard limits: ``min_epochs`` and
    ``min_steps`` do not move them. The time is counted over resumes, whether or not there is a limit, so that one that is
    set later counts from the first step.

    Args:
        steps: of the whole run; None for no limit.
        seconds: of training and evaluation together, over all resumes; None for no limit.
    """

    def __init__(self, *, steps: int | None = None, seconds: float | None = None) -> None:
        self.steps = steps
        self.seconds = seconds
        self._before = 0.0
        self._began: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the first start, without the time between a stop and its resume."""
        return self._before + (0.0 if self._began is None else time.monotonic() - self._began)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[SECONDS] = self.elapsed

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._before = float(checkpoint.get(SECONDS, 0.0))

    def reached(self, trainer: Trainer) -> str | None:
        """``steps`` or ``time``, the limit that the run has reached; the same on every process."""
        if self.steps is not None and trainer.global_step >= self.steps:
            return "steps"
        if self.seconds is None:
            return None
        reached = self.elapsed >= self.seconds
        return "time" if (reached if trainer.world_size == 1 else trainer.strategy.broadcast(reached)) else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.monotonic()  # before the evaluation of the starting weights, which counts too

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0 and self.reached(trainer):  # killed before its last evaluation
            _evaluate_pending(trainer, pl_module)
            self._end(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if not is_within_step(trainer) and self.reached(trainer):
            self._end(trainer)

    @staticmethod
    def _end(trainer: Trainer) -> None:
        trainer.fit_loop.min_epochs = None
        trainer.fit_loop.epoch_loop.min_steps = None
        trainer.should_stop = True


def _evaluate_pending(trainer: Trainer, pl_module: LightningModule) -> None:
    """The evaluation that was due where the checkpoint stands, if it has not been."""
    start: Any = pl_module._start
    if start.batch == 0 or start.evaluated or not trainer.enable_validation:
        return
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "save_evaluated"):
            callback.save_evaluated(trainer)


class EarlyStopping(Callback):
    """Ends a run once `patience` evaluations in a row were no better than the best before them.

    In place of Lightning's, whose saved state brings back the patience of the run that was interrupted, and whose word to stop
    is kept until ``min_epochs`` are over, even where the metric has risen since. Here the state holds what was seen and
    nothing that the configuration says, and the evaluations are counted anew from each best.

    Args:
        monitor: name of the metric, as the evaluation gives it.
        patience: evaluations without a better one after which the run ends; None only counts them, so that a patience that a
            resume brings counts from the best too.
        min_delta: a better metric is better by more than this.
        min_epochs: epochs that the run has at least.
        min_steps: optimiser steps that the run has at least.
    """

    def __init__(
        self,
        monitor: str,
        *,
        patience: int | None,
        min_delta: float = 0.0,
        mode: str = "max",
        min_epochs: int | None = None,
        min_steps: int | None = None,
    ) -> None:
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, abs(min_delta), mode
        self.min_epochs, self.min_steps = min_epochs or 0, min_steps or 0
        self.best: float | None = None
        self.waited = 0
        """Evaluations since the best."""
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], int(state_dict["waited"])

    def spent(self, waited: int, *, epochs: int, steps: int) -> bool:
        """Whether a run of `epochs` whole epochs and `steps` steps ends after `waited` evaluations without a better one."""
        enough = epochs >= self.min_epochs and steps >= self.min_steps
        return self.patience is not None and waited >= self.patience and enough

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        metrics: dict[str, Any] = pl_module.metrics  # type: ignore[assignment]
        if self.monitor not in metrics:
            return  # the callback that saves the best says so
        if (score := measured(metrics[self.monitor])) is None:
            return  # a set without any truth for the metric says nothing of the model, however often
        if beats(score, self.best, self.mode, least=self.min_delta):
            self.best, self.waited = score, 0
            return
        self.waited += 1
        whole = trainer.fit_loop.batch_idx + 1 >= trainer.num_training_batches
        if self.spent(self.waited, epochs=trainer.current_epoch + whole, steps=trainer.global_step):
            self.stopped = trainer.should_stop = True


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
