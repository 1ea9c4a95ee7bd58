"""Callbacks that set a part of the model by the epoch alone, so that a resumed run is where it should be."""

from __future__ import annotations

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from heads.structures import UserError


class DropoutCourse(Callback):
    """Sets the dropout of a head at the start of each epoch.

    Args:
        head: its name.
        rate: epoch -> probability.
    """

    def __init__(self, head: str, rate: Callable[[int], float]) -> None:
        self.head, self.rate = head, rate

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        heads: nn.ModuleDict = pl_module.model.heads  # type: ignore[union-attr,assignment]
        for layer in heads[self.head].modules():
            if isinstance(layer, nn.Dropout):
                layer.p = self.rate(trainer.current_epoch)


class HeadsFirst(Callback):
    """Trains the heads alone for the first `epochs`: the rest has no gradients, and its BatchNorm keeps its statistics.

    Random weights of a new head send back gradients that mean nothing; by the time the backbone learns, they mean something.
    The optimiser knows all parameters from the start; it passes over those without a gradient.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._held: list[nn.Parameter] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            raise UserError(
                f"head_epochs={self.epochs} works on one device (several would wait for gradients that never come): "
                "train the heads in a run of its own with freeze=[backbone,neck], and go on from its weights"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        first = trainer.current_epoch < self.epochs
        model = pl_module.model
        parts = [part for part in (model.backbone, getattr(model, "neck", None)) if isinstance(part, nn.Module)]  # type: ignore[union-attr]
        for parameter in self._held:
            parameter.requires_grad_(True)
        self._held = []
        if not first:
            return
        for part in parts:
            part.eval()
            for parameter in part.parameters():
                if parameter.requires_grad:
                    parameter.requires_grad_(False)
                    self._held.append(parameter)
