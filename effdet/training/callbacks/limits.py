"""The end of a run: at a number of steps, and never without an evaluation."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from effdet.training.callbacks.course import AtEpoch


class StepLimit(Callback):
    """Ends the run after `steps` optimiser steps.

    In place of the trainer's ``max_steps``, which turns on another way of counting on restart, and ends a run without its
    evaluation.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


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

    @staticmethod
    def _now(trainer: Trainer) -> None:
        if trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1
