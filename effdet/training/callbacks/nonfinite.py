"""Steps whose loss or gradient is not a finite number: skipped, kept for replay, and after too many in a row the end.

A skipped step moves nothing: neither weights, nor the optimiser's state, nor the average and its counter, nor BatchNorm's
running statistics, which the forward pass has already written and which are put back. Only the count of steps goes on, and
with it the learning-rate schedule, which is a function of that count: the run ends where it was planned to end.

On the CPU the norm is looked at before the step, and a bad step's gradients are dropped: optimisers pass over parameters
without a gradient. On CUDA looking makes the host wait for the device at every step. There a fused optimiser is told on the
device to skip (``found_inf``, the protocol of the gradient scaler), and the host receives the result one step later, when it
has long arrived. An optimiser without a fused kernel (rmsprop; any with fp16, whose scaler waits too) is looked at as on the
CPU. Several processes agree: a step that is bad on one is skipped on all.

fp16 multiplies the loss by a scale that it finds by trying: where the gradient overflows it skips the step and halves the
scale, 16 times at most from its start. Such a step has a finite loss. It is skipped, but neither counted nor kept, unless the
scale is down to 1, where nothing was multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from effdet.training.batchnorm import RunningStatistics
from effdet.training.checkpoints import write_checkpoint
from effdet.training.errors import NonFiniteError
from effdet.training.randomness import dropout_rates, step_seed
from effdet.training.replay import KIND, batch_values
from effdet.training.settings import NonFiniteSettings
from heads.structures import Batch


@dataclass
class _Seen:
    """One optimiser step, for the file that keeps it."""

    step: int
    batches: list[tuple[int, Batch]]
    norm: Tensor
    loss: Tensor


class FiniteGuard(Callback):
    """Guards optimiser steps; ``VisionModule.inspect`` is set to :meth:`inspect`.

    Args:
        directory: where bad batches are kept, as ``step_NNNNNNNN.pt``.
        warn: called with each bad step.
    """

    def __init__(self, settings: NonFiniteSettings, directory: Path, *, warn: Callable[[str], None] = print) -> None:
        self.settings = settings
        self.directory = directory
        self.warn = warn
        self.in_a_row = 0
        self.skipped = 0
        self.written: list[Path] = []
        self._window: list[tuple[int, Batch]] = []
        self._pending: tuple[Tensor, torch.cuda.Event, _Seen] | None = None
        """A result on its way from the device: () bool on the host, and when it is there."""
        self._trainer: Trainer | None = None
        self._statistics: RunningStatistics | None = None

    def state_dict(self) -> dict[str, Any]:
        self._check()  # a checkpoint holds what has happened, also what the host has not received yet
        return {"in_a_row": self.in_a_row, "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_a_row, self.skipped = state_dict["in_a_row"], state_dict["skipped"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer = trainer
        self._statistics = RunningStatistics(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._window.append((trainer.fit_loop.total_batch_idx, batch))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check()

    def inspect(self, norm: Tensor, loss: Tensor, optimizer: Optimizer) -> Tensor | bool:
        """Whether the step is taken; where it is not, its gradients are gone.

        A () bool tensor on the device where the host does not know yet: the optimiser skips by itself then.
        """
        assert self._trainer is not None and self._statistics is not None
        window, self._window = self._window, []
        seen = _Seen(self._trainer.global_step + 1, window, norm, loss)
        finite = _everywhere(torch.isfinite(norm) & torch.isfinite(loss))
        self._statistics.commit_or_roll_back(finite)
        self._check()
        if norm.device.type != "cuda" or not optimizer.param_groups[0].get("fused"):
            overflowed = self._scale() > 1 and bool(_everywhere(torch.isfinite(loss)))
            if not (taken := bool(finite)):
                optimizer.zero_grad(set_to_none=True)
            if taken or not overflowed:
                self._count(taken, seen)
            return taken
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        finite_flag = torch.empty((), dtype=torch.bool, pin_memory=True)
        finite_flag.copy_(finite, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._pending = finite_flag, arrived, seen
        return finite

    def _scale(self) -> float:
        """By which fp16 multiplies the loss; 1 in any other precision."""
        scaler = getattr(getattr(self._trainer, "precision_plugin", None), "scaler", None)
        return 1.0 if scaler is None else float(scaler.get_scale())

    def _check(self) -> None:
        if self._pending is not None:
            (finite, arrived, seen), self._pending = self._pending, None
            arrived.synchronize()
            self._count(bool(finite), seen)

    def _count(self, finite: bool, seen: _Seen) -> None:
        if finite:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        self.skipped += 1
        step, path = seen.step, self._keep(seen)
        kept = f"; its batch is in {path}, look with `effdet replay {path}`" if path else ""
        self.warn(f"step {step}: loss or gradient is not finite, the step is skipped{kept}")
        if self.in_a_row >= self.settings.patience:
            raise NonFiniteError(
                f"{self.in_a_row} steps in a row were not finite, the last was step {step}; lower optimizer.lr, clip with "
                "trainer.gradient_clip_val, train with trainer.precision=32, or look at the batches kept in "
                f"{self.directory} with `effdet replay`"
            )

    def _keep(self, seen: _Seen) -> Path | None:
        """Everything that it takes to run the step again: weights, batches, seeds (:mod:`effdet.training.replay`)."""
        trainer = self._trainer
        assert trainer is not None
        if len(self.written) >= self.settings.keep or not seen.batches:
            return None
        module: Any = trainer.lightning_module
        rank = trainer.global_rank
        values = {
            "kind": KIND,
            "step": seen.step,
            "rank": rank,
            "processes": trainer.world_size,
            "seed": module.settings.seed,
            "precision": module.settings.precision,
            "loss_scale": self._scale(),
            "channels_last": module.settings.channels_last,
            "freeze": list(module.freezing.parts),
            "dropout": dropout_rates(module.model),
            "progress": module.progress,
            "extra": [name for name in module.meter.names[1:] if name.partition("/")[0] not in module.model.heads],
            "spec": module.record.get("spec"),
            "loss": float(seen.loss),
            "grad_norm": float(seen.norm),
            "raw_state_dict": module.model.state_dict(),
            "batches": [
                batch_values(batch) | {"generator_seed": str(step_seed(module.settings.seed, index, rank))}
                for index, batch in seen.batches
            ],
        }
        name = f"step_{seen.step:08d}.pt" if trainer.world_size == 1 else f"step_{seen.step:08d}_rank{rank}.pt"
        path = write_checkpoint(self.directory / name, values)
        self.written.append(path)
        return path


def _everywhere(finite: Tensor) -> Tensor:
    """() bool: whether the step is finite on every process; asked and answered on the device."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return finite
    flag = finite.float()
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MIN)
    return flag > 0
