"""What is evaluated and drawn beside the training steps: the starting weights, the last ones, images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from effdet.training.callbacks.schedules import AtEpoch
from effdet.training.lightning_internals import clear_validation_interval
from effdet.training.monitor import is_number, measured, shown_score
from heads.structures import Batch


class StartEvaluation(Callback):
    """Evaluates once, before the first step of a run that is not resumed; random state and modes stay as they are.

    The metrics go to the loggers as step 0 of epoch 0 and, with the checkpoints, through every resume.

    Args:
        monitor: name of the metric by which the best checkpoint is chosen.
        enabled: False evaluates nothing, but carries what an earlier part of the run found.
    """

    def __init__(self, monitor: str | None, say: Callable[[str], object], *, enabled: bool = True) -> None:
        self.monitor = monitor
        self.score: float | None = None
        """The monitored metric of the starting weights; None where they were not evaluated."""
        self._say, self._enabled = say, enabled

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score = state_dict["score"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        if (
            not self._enabled
            or trainer.ckpt_path is not None
            or trainer.global_step > 0
            or not trainer.enable_validation
        ):
            return
        training = [layer for layer in module.modules() if layer.training]
        module.eval()
        with isolate_rng(), trainer.precision_plugin.val_step_context():
            metrics = module.evaluated()
        for layer in training:  # frozen parts stay in evaluation mode
            layer.training = True
        values = {f"val/{name}": float(value) for name, value in metrics.items() if is_number(value)}
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": 0, **values}, step=0)
        if self.monitor is None or self.monitor not in metrics:
            return
        self.score = measured(metrics[self.monitor])
        if self.score is None:
            return
        names = dict.fromkeys((*module.monitor, self.monitor))
        shown = ", ".join(f"{name} {shown_score(metrics[name])}" for name in names if name in metrics)
        self._say(f"the starting weights, before training: {shown}")


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
            clear_validation_interval(trainer)
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


DrawBatch = Callable[[Batch, nn.Module, Path], object]
"""Draws an augmented batch with its labels to a file."""
DrawPredictions = Callable[[nn.Module, Path], object]
"""Draws predictions of a model (with the averaged weights) to a file."""


class Images(Callback):
    """``train_batch.jpg`` before the first step, ``predictions.jpg`` after each evaluation.

    An image that can't be drawn is a warning, not the end of a training run.
    """

    def __init__(
        self, directory: Path, *, batch: DrawBatch | None = None, predictions: DrawPredictions | None = None
    ) -> None:
        self.directory = directory
        self.batch = batch
        self.predictions = predictions

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        draw, path = self.batch, self.directory / "train_batch.jpg"
        self.batch = None
        if draw is not None and trainer.is_global_zero and not path.exists():
            _try(path, lambda: draw(batch, pl_module.model, path))  # type: ignore[arg-type]

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        # While the averaged weights are in place.
        draw, path = self.predictions, self.directory / "predictions.jpg"
        if draw is not None and trainer.is_global_zero and not trainer.sanity_checking:
            _try(path, lambda: draw(pl_module.model, path))  # type: ignore[arg-type]


def _try(path: Path, draw: Callable[[], object]) -> None:
    try:
        draw()
    except Exception as error:
        warnings.warn(f"{path.name} could not be drawn ({type(error).__name__}: {error})", stacklevel=2)
