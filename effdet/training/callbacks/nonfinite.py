"""Steps whose loss or gradient is not a finite number: skipped, kept for replay, and after too many in a row the end.

On the CPU the norm is looked at before the step, and a bad step's gradients are dropped: optimisers pass over parameters
without a gradient, so weights, momentum and decay stay as they were. On CUDA looking would make the host wait for the
device at every step. There a fused optimiser is told on the device to skip (``found_inf``, the protocol of the gradient
scaler), and the host hears of it one step later, when the answer has long arrived. With fp16 the scaler does the skipping.
BatchNorm's running statistics, which the forward pass has already written, are put back on either device. Several
processes agree: a step that is bad on one is skipped on all.
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

from effdet.training.checkpoints import write_checkpoint
from effdet.training.errors import NonFiniteError
from effdet.training.kept_step import KIND, batch_values
from effdet.training.seeding import step_seed
from effdet.training.settings import NonFiniteSettings
from effdet.training.statistics import RunningStatistics
from heads.structures import Batch


@dataclass
class _Answer:
    """A verdict that is on its way from the device."""

    finite: Tensor
    """() bool on the host."""
    arrived: torch.cuda.Event
    seen: _Seen


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
        settings: what to do.
        folder: where bad batches are kept, as ``step_NNNNNNNN.pt``.
        warn: told of each bad step.
    """

    def __init__(self, settings: NonFiniteSettings, folder: Path, *, warn: Callable[[str], None] = print) -> None:
        self.settings = settings
        self.folder = folder
        self.warn = warn
        self.in_a_row = 0
        self.skipped = 0
        self.written: list[Path] = []
        self._window: list[tuple[int, Batch]] = []
        self._pending: _Answer | None = None
        self._trainer: Trainer | None = None
        self._statistics: RunningStatistics | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row, "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_a_row, self.skipped = state_dict["in_a_row"], state_dict["skipped"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer = trainer
        self._statistics = RunningStatistics(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._window.append((trainer.fit_loop.total_batch_idx, batch))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hear()

    def inspect(self, norm: Tensor, loss: Tensor, optimizer: Optimizer) -> bool:
        """False where the step is skipped by us (its gradients are gone)."""
        assert self._trainer is not None and self._statistics is not None
        window, self._window = self._window, []
        seen = _Seen(self._trainer.global_step + 1, window, norm, loss)
        finite = _everywhere(torch.isfinite(norm) & torch.isfinite(loss))
        self._statistics.settle(finite)
        if norm.device.type != "cuda":
            return self._judge(bool(finite), seen, optimizer)
        self._hear()
        if optimizer.param_groups[0].get("fused"):
            optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        answer = torch.empty((), dtype=torch.bool, pin_memory=True)
        answer.copy_(finite, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._pending = _Answer(answer, arrived, seen)
        return True

    def _hear(self) -> None:
        if self._pending is not None:
            answer, self._pending = self._pending, None
            answer.arrived.synchronize()
            self._judge(bool(answer.finite), answer.seen, None)

    def _judge(self, finite: bool, seen: _Seen, optimizer: Optimizer | None) -> bool:
        if finite:
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.skipped += 1
        if optimizer is not None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
        step, path = seen.step, self._keep(seen)
        kept = f"; its batch is in {path}, look with `effdet replay {path}`" if path else ""
        self.warn(f"step {step}: loss or gradient is not finite, the step is skipped{kept}")
        if self.in_a_row >= self.settings.patience:
            raise NonFiniteError(
                f"{self.in_a_row} steps in a row were not finite, the last was step {step}; lower optimizer.lr, clip with "
                "trainer.gradient_clip_val, train with trainer.precision=32, or look at the batches kept in "
                f"{self.folder} with `effdet replay`"
            )
        return False

    def _keep(self, seen: _Seen) -> Path | None:
        """Everything that it takes to run the step again: weights, batches, seeds (:mod:`effdet.training.replay`)."""
        trainer = self._trainer
        assert trainer is not None
        if len(self.written) >= self.settings.keep or not seen.batches:
            return None
        module: Any = trainer.lightning_module
        rank = trainer.global_rank
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        values = {
            "kind": KIND,
            "step": seen.step,
            "rank": rank,
            "processes": trainer.world_size,
            "seed": module.settings.seed,
            "precision": module.settings.precision,
            "loss_scale": 1.0 if scaler is None else float(scaler.get_scale()),
            "channels_last": module.settings.channels_last,
            "freeze": list(module.freezing.parts),
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
        path = write_checkpoint(self.folder / name, values)
        self.written.append(path)
        return path


def _everywhere(finite: Tensor) -> Tensor:
    """() bool: whether the step is finite on every process; asked and answered on the device."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return finite
    flag = finite.float()
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MIN)
    return flag > 0
