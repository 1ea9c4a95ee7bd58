"""Training's numbers: loss terms, learning rate, gradient norm, speed, memory; to the loggers and on the terminal."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from effdet.training.monitor import shown_score


class LossMeter:
    """Adds up loss terms without waiting for the device; reading is the one moment that does."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.count = 0
        self._sums: Tensor | None = None

    def add(self, terms: Mapping[str, Tensor], loss: Tensor) -> None:
        """One micro-batch: scalar terms, and their sum."""
        values = torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
        if self._sums is None:
            self.names, self._sums = ("loss", *terms), values
        else:
            self._sums += values.to(self._sums.device)
        self.count += 1

    def read(self) -> dict[str, float]:
        """Means since the last reading: ``loss`` and each term. Empty where nothing was added."""
        if self._sums is None:
            return {}
        means = (self._sums / self.count).tolist()
        self._sums, self.count = None, 0
        return dict(zip(self.names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "count": self.count, "sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.names, self.count, self._sums = tuple(state["names"]), state["count"], state["sums"]


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


class ExtraLog(Callback):
    """Writes what extra losses say of an epoch, with its last step and before a checkpoint of it."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 < trainer.num_training_batches:
            return
        values = dict[str, float]()
        for loss in pl_module.extra:  # type: ignore[union-attr]
            values |= loss.epoch_values()  # type: ignore[operator]
        for logger in trainer.loggers if values else ():
            logger.log_metrics({"epoch": trainer.current_epoch, **values}, step=trainer.global_step)


class AttachLosses(Callback):
    """Tells extra losses of the averaged model, which another callback holds."""

    def __init__(self, average: Callable[[], Any] | None) -> None:
        self.average = average

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        average = None if self.average is None else self.average().eval()
        pl_module.attach_losses(average)  # type: ignore[operator]


class ProgressDisplay(Callback):
    """Loss, learning rate, images a second and time left.

    Args:
        out: where to; a terminal gets a bar that is drawn twice a second, anything else a line for each logged row,
            without control characters.
    """

    def __init__(self, out: IO[str] | None = None) -> None:
        self.out = out if out is not None else sys.stdout
        self.row: Mapping[str, float] = {}
        self._bar: Any = None
        self._task: Any = None
        self._trainer: Trainer | None = None
        self._started = time.monotonic()
        self._steps_before = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._trainer, self._steps_before, self._started = trainer, trainer.global_step, time.monotonic()
        self._start_bar()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_bar()  # evaluation shows another

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._trainer is None:
            return
        metrics: Mapping[str, Any] = pl_module.metrics  # type: ignore[assignment]
        values = {name: value for name, value in metrics.items() if isinstance(value, float)}
        shown = "  ".join(f"{name} {shown_score(value)}" for name, value in list(values.items())[:6])
        self._line(f"epoch {trainer.current_epoch + 1}  step {trainer.global_step}  evaluation  {shown}")
        self._start_bar()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step, row=self._numbers())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_bar()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop_bar()

    def listen(self, row: Mapping[str, float]) -> None:
        """Takes the row that was just logged."""
        self.row = row
        if self._trainer is not None and self._bar is None:
            total = self._total()
            of = "" if total is None else f"/{total}"
            where = f"epoch {self._trainer.current_epoch + 1}  step {self._trainer.global_step}{of}"
            self._line(f"{where}  {self._numbers()}")

    def _numbers(self) -> str:
        if not self.row:
            return ""
        left = self.seconds_left()
        parts = [f"loss {self.row['loss']:.4f}"] if "loss" in self.row else []
        parts += [f"lr {self.row['lr']:.3g}", f"{self.row['images_per_second']:.1f} images/s"]
        return "  ".join(parts + ([] if left is None else [f"{clock(left)} left"]))

    def _total(self) -> int | None:
        assert self._trainer is not None
        return self._trainer.lightning_module.total_steps  # type: ignore[attr-defined, return-value]

    def seconds_left(self) -> float | None:
        """Of training, evaluations included as far as they have been seen."""
        if self._trainer is None or (total := self._total()) is None:
            return None
        done = self._trainer.global_step - self._steps_before
        return (time.monotonic() - self._started) / done * (total - self._trainer.global_step) if done > 0 else None

    def _line(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def _start_bar(self) -> None:
        if self._trainer is None or not self.out.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[row]}"))
        self._bar = Progress(*columns, console=Console(file=self.out), refresh_per_second=2, transient=True)
        self._task = self._bar.add_task(
            "", total=self._total(), completed=self._trainer.global_step, row=self._numbers()
        )
        self._bar.start()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def clock(seconds: float) -> str:
    """``42s``, ``3m05s``, ``2h07m``."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
