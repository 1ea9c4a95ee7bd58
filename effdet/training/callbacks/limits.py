"""The end of a run: at a number of steps or after a time, and never without an evaluation."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from effdet.training.callbacks.schedules import AtEpoch
from effdet.training.lightning_internals import forget_validation_interval, is_within_step

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

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
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


class LastEvaluation(AtEpoch):
    """The last epoch, and a run that is stopped before its end, are evaluated whatever ``check_val_every_n_epoch`` says."""

    def at_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        if epoch + 1 == trainer.max_epochs:
            self._now(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.should_stop:
            self._now(trainer)
        if trainer.current_epoch + 1 == trainer.max_epochs and batch_idx + 1 >= trainer.num_training_batches:
            forget_validation_interval(trainer)
            trainer.val_check_batch = 1  # the run's last batch, whatever val_check_interval says

    @staticmethod
    def _now(trainer: Trainer) -> None:
        if trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1


class EvaluateBetweenSteps(AtEpoch):
    """Evaluations within an epoch wait for the end of the optimiser step that they would fall into.

    With accumulation, ``val_check_interval`` may end within a step, whose first gradients no checkpoint holds: a run that is
    resumed there would lose them.
    """

    def at_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        every, accumulate = trainer.val_check_batch, trainer.accumulate_grad_batches
        if isinstance(every, int) and every % accumulate:
            whole = math.ceil(every / accumulate) * accumulate
            trainer.val_check_batch = min(whole, int(trainer.num_training_batches))
