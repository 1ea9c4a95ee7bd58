"""Steps whose loss or gradient is not a finite number: skipped, kept for replay, and after too many in a row the end.

On the CPU the norm is looked at before the step, and a bad step's gradients are dropped: optimisers pass over parameters
without a gradient, so weights, momentum and decay stay as they were. On CUDA looking would make the host wait for the
device at every step. There a fused optimiser is told on the device to skip (``found_inf``, the protocol of the gradient
scaler), and the host hears of it one step later, when the answer has long arrived. With fp16 the scaler does the skipping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from effdet.training.checkpoints import write_checkpoint
from effdet.training.seeding import step_seed
from effdet.training.settings import NonFiniteSettings
from heads.structures import Batch, UserError


@dataclass
class _Answer:
    """A verdict that is on its way from the device."""

    finite: Tensor
    """() bool on the host."""
    arrived: torch.cuda.Event
    step: int
    batches: list[tuple[int, Batch]]


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

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row, "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_a_row, self.skipped = state_dict["in_a_row"], state_dict["skipped"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer = trainer

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._window.append((trainer.fit_loop.total_batch_idx, batch))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hear()

    def inspect(self, norm: Tensor, loss: Tensor, optimizer: Optimizer) -> bool:
        """False where the step is skipped by us (its gradients are gone)."""
        assert self._trainer is not None
        window, self._window = self._window, []
        step = self._trainer.global_step + 1
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        if norm.device.type != "cuda":
            return self._judge(bool(finite), step, window, optimizer)
        self._hear()
        if optimizer.param_groups[0].get("fused"):
            optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        answer = torch.empty((), dtype=torch.bool, pin_memory=True)
        answer.copy_(finite, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._pending = _Answer(answer, arrived, step, window)
        return True

    def _hear(self) -> None:
        if self._pending is not None:
            answer, self._pending = self._pending, None
            answer.arrived.synchronize()
            self._judge(bool(answer.finite), answer.step, answer.batches, None)

    def _judge(self, finite: bool, step: int, window: list[tuple[int, Batch]], optimizer: Optimizer | None) -> bool:
        if finite:
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.skipped += 1
        if optimizer is not None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
        path = self._keep(step, window)
        kept = f"; its batch is in {path}" if path else ""
        self.warn(f"step {step}: loss or gradient is not finite, the step is skipped{kept}")
        if self.in_a_row >= self.settings.patience:
            raise UserError(
                f"{self.in_a_row} steps in a row were not finite, the last was step {step}; lower optimizer.lr, clip with "
                "trainer.gradient_clip_val, train with trainer.precision=32, or look at the batches kept in "
                f"{self.folder} with `effdet replay`"
            )
        return False

    def _keep(self, step: int, window: list[tuple[int, Batch]]) -> Path | None:
        """Everything that it takes to run the step again: weights, batches, seeds."""
        trainer = self._trainer
        assert trainer is not None
        if len(self.written) >= self.settings.keep or not window:
            return None
        module: Any = trainer.lightning_module
        rank = trainer.global_rank
        values = {
            "step": step,
            "rank": rank,
            "seed": module.settings.seed,
            "precision": module.settings.precision,
            "spec": module.record.get("spec"),
            "raw_state_dict": module.model.state_dict(),
            "batches": [
                {
                    "images": batch.images.cpu(),
                    "targets": {
                        item.name: None if (value := getattr(batch.targets, item.name)) is None else value.cpu()
                        for item in fields(batch.targets)
                    },
                    "indices": batch.indices.cpu(),
                    "generator_seed": str(step_seed(module.settings.seed, index, rank)),
                }
                for index, batch in window
            ],
        }
        name = f"step_{step:08d}.pt" if trainer.world_size == 1 else f"step_{step:08d}_rank{rank}.pt"
        path = write_checkpoint(self.folder / name, values)
        self.written.append(path)
        return path
