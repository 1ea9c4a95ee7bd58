"""The exponential moving average of the weights.

``average += (1 - d) * (weights - average)`` after each optimiser step, with ``d = min(decay, (1 + n) / (10 + n))`` after
n updates (the rule of TensorFlow's ExponentialMovingAverage), so that the first weights are soon forgotten; without `ramp`,
``d = decay``: starting weights that are good are left slowly (as by WiSE-FT, arXiv 2109.01903). A step that is
skipped (:mod:`effdet.training.callbacks.nonfinite`) is not an update: neither the average nor n moves.

Floating buffers, the running statistics of BatchNorm, are averaged like weights: they then belong to the averaged
weights as well as the current ones belong to the current weights. Other buffers (counters, masks) are copied.

Lightning's callback gives the hooks. Its work is done anew here: one fused kernel for all tensors in place of one for
each, the average of only the model in place of a deep copy of the whole LightningModule, and a lock on saving while
the weights are swapped.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from backbones.torch_internals import foreach_add_, foreach_copy_, foreach_lerp_, foreach_mul_, foreach_sub
from effdet.training.settings import EmaSettings


class Ema(WeightAveraging):
    """Averages ``pl_module.model``, and puts the average in its place while it is validated and when training ends."""

    def __init__(self, settings: EmaSettings) -> None:
        super().__init__(use_buffers=True)
        self.settings = settings
        self.updates = 0
        self.swapped = False
        self._pairs: _Pairs | None = None

    @property
    def updates(self) -> int:
        """Steps that have been averaged. Counted on the device where only it knows whether a step was skipped."""
        return self._updates + (0 if self._more is None else int(self._more))

    @updates.setter
    def updates(self, count: int) -> None:
        self._updates = count
        self._more: Tensor | None = None

    def decay(self) -> float:
        """Of the next update."""
        decay, count = self.settings.decay, self.updates
        return min(decay, (1 + count) / (10 + count)) if self.settings.ramp else decay

    @property
    def model(self) -> nn.Module:
        """The averaged model."""
        assert self._average_model is not None, "the average exists from setup on"
        return self._average_model.module

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            current: nn.Module = pl_module.model  # type: ignore[assignment]
            self._average_model = AveragedModel(current, device=pl_module.device, use_buffers=True).requires_grad_(
                False
            )
            self._pairs = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step > self._latest_update_step:
            self._latest_update_step = trainer.global_step
            taken: Tensor | bool = pl_module.step_taken  # type: ignore[assignment]
            self.update(pl_module, taken)

    def update(self, pl_module: LightningModule, taken: Tensor | bool) -> None:
        """Averages the weights of a step that was `taken`; a () bool tensor is not waited for."""
        pairs = self._tensors(pl_module)
        if isinstance(taken, Tensor):
            self._more = taken.new_zeros((), dtype=torch.int64) if self._more is None else self._more
            n = (self._more + self._updates).double()
            decay = self.settings.decay
            share = 1 - (((1 + n) / (10 + n)).clamp(max=decay) if self.settings.ramp else torch.full_like(n, decay))
            pairs.blend((share * taken).float())
            self._more += taken
        elif taken:
            pairs.blend(1 - self.decay())
            self._updates += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pass  # the parent's would offer an update per epoch

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module, swapped=True)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module, swapped=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.swapped:
            self._swap(pl_module, swapped=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tensors(pl_module).restore()

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._latest_update_step, "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._latest_update_step = state_dict["latest_update_step"]
        self.updates = state_dict["updates"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.swapped:
            raise RuntimeError("a checkpoint can't be saved while the averaged weights stand in for the current ones")
        checkpoint["ema_state_dict"] = self.model.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.model.load_state_dict(checkpoint["ema_state_dict"])

    def _swap(self, pl_module: LightningModule, *, swapped: bool) -> None:
        assert self.swapped != swapped, "the weights are swapped and swapped back in turns"
        self._tensors(pl_module).swap()
        self.swapped = swapped

    def _tensors(self, pl_module: LightningModule) -> _Pairs:
        # Made late: moving to the device and SyncBN's conversion replace tensors between setup and the first step.
        if self._pairs is None:
            self._pairs = _Pairs(self.model, pl_module.model)  # type: ignore[arg-type]
        return self._pairs


class _Pairs:
    """The tensors of two models of one structure, side by side."""

    def __init__(self, average: nn.Module, current: nn.Module) -> None:
        pairs = list(zip(_tensors(average), _tensors(current), strict=True))
        floating = [(a, c) for a, c in pairs if a.is_floating_point()]
        self.average, self.current = [a for a, _ in floating], [c for _, c in floating]
        other = [(a, c) for a, c in pairs if not a.is_floating_point()]
        self.other_average, self.other_current = [a for a, _ in other], [c for _, c in other]

    @torch.no_grad()
    def blend(self, share: float | Tensor) -> None:
        """``average += share * (current - average)``; a share on the device, () float32, is not waited for."""
        if isinstance(share, Tensor):  # lerp takes a number of the host only
            moves = foreach_sub(self.current, self.average)
            foreach_mul_(moves, share)
            foreach_add_(self.average, moves)
        else:
            foreach_lerp_(self.average, self.current, share)
        _copy(self.other_average, self.other_current)

    @torch.no_grad()
    def swap(self) -> None:
        for average, current in ((self.average, self.current), (self.other_average, self.other_current)):
            kept = [tensor.clone() for tensor in average]
            _copy(average, current)
            _copy(current, kept)

    @torch.no_grad()
    def restore(self) -> None:
        _copy(self.current, self.average)
        _copy(self.other_current, self.other_average)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(parameter.data for parameter in model.parameters()), *model.buffers()]


def _copy(into: list[Tensor], source: list[Tensor]) -> None:
    if into:
        foreach_copy_(into, source)
