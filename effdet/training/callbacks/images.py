"""Images of what is learnt from and of what has been learnt."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from heads.structures import Batch

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
