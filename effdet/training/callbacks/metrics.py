"""Training's numbers: loss terms, learning rate, gradient norm, speed, memory; to the loggers, every N steps."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

Listener = Callable[[Mapping[str, float]], None]


class MetricLog(Callback):
    """Writes a row every ``trainer.log_every_n_steps`` optimiser steps, and after the first.

    The row is written before a checkpoint of the same step can be, so that a kill between the two loses nothing; Lightning
    writes it after. Reading the losses is the only time that the device is waited for.

    Args:
        listeners: are given each row (the progress display).
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners
        self._since = time.perf_counter()
        self._images = 0
        self._last = 0
        self._lr = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart(trainer)  # evaluating is not training's speed

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._lr = max(group["lr"] for group in optimizer.param_groups)  # of this step: afterwards it is the next one's

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch)
        step = trainer.global_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step == self._last or not (step == 1 or (every and step % every == 0)):
            return
        row = {"epoch": trainer.current_epoch, **self._values(trainer, pl_module)}
        self._restart(trainer)
        for logger in trainer.loggers:
            logger.log_metrics(row, step=step)
        for listener in self.listeners:
            listener(row)

    def _values(self, trainer: Trainer, module: Any) -> dict[str, float]:
        values: dict[str, float] = module.meter.read()
        values["lr"] = self._lr
        if module.grad_norm is not None:
            values["grad_norm"] = float(module.grad_norm)
        seconds = max(time.perf_counter() - self._since, 1e-9)
        values["images_per_second"] = self._images * trainer.world_size / seconds
        values["memory_gib"] = peak_memory(module.device) / 2**30
        return values

    def _restart(self, trainer: Trainer) -> None:
        self._since, self._images, self._last = time.perf_counter(), 0, trainer.global_step


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that tensors have held on a GPU, or this process on the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
