"""Callbacks that set a part of the model only by the epoch, so that a resumed run is where it should be."""

from __future__ import annotations

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from effdet.training.randomness import dropouts
from heads.structures import UserError


class AtEpoch(Callback):
    """Base of every callback that acts at the start of an epoch, as a function of the epoch's number.

    Lightning leaves ``on_train_epoch_start`` out where a run is resumed in mid-epoch. :meth:`at_epoch` is called there too,
    before the first batch.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.at_epoch(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.at_epoch(trainer, pl_module, trainer.current_epoch)

    def at_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Set what `epoch` (from 0) wants. May be called more than once for an epoch."""
        raise NotImplementedError


class DropoutSchedule(AtEpoch):
    """Sets the dropout of a head at the start of each epoch.

    Args:
        rate: epoch -> probability.
    """

    def __init__(self, head: str, rate: Callable[[int], float]) -> None:
        self.head, self.rate = head, rate

    def at_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        heads: nn.ModuleDict = module.model.heads  # type: ignore[union-attr,assignment]
        for layer in dropouts(heads[self.head]):
            layer.p = self.rate(epoch)


class FreezeAllButHeads(AtEpoch):
    """Trains only the heads for the first `epochs`: the rest is frozen (:mod:`effdet.training.freezing`), then it trains too.

    Random weights of a new head send back gradients that mean nothing; by the time the backbone learns, they mean something.
    The optimiser knows all parameters from the start; it passes over those without a gradient.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            raise UserError(
                f"freeze_epochs={self.epochs} works on one device (several would wait for gradients that never come): "
                "train the heads in a separate run with freeze=[backbone,neck], and go on from its weights"
            )

    def at_epoch(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        model = module.model
        there = [part for part in ("backbone", "neck") if isinstance(getattr(model, part, None), nn.Module)]
        module.freezing.during(there if epoch < self.epochs else ())  # type: ignore[union-attr,operator]
        module.train()  # frozen parts stay in evaluation mode, those that are no longer frozen leave it
