"""How far the run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from lightning.pytorch import Callback, LightningModule, Trainer


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
        self._paused = 0.0
        self._pause_began = 0.0

    @property
    def on_terminal(self) -> bool:
        return self.out.isatty()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._trainer, self._steps_before, self._started = trainer, trainer.global_step, time.monotonic()
        self._start_bar()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause_began = time.monotonic()
        self._stop_bar()  # evaluation has a bar of its own

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused += time.monotonic() - self._pause_began
        if self._trainer is None:
            return
        metrics: Mapping[str, Any] = pl_module.metrics  # type: ignore[assignment]
        values = {name: value for name, value in metrics.items() if isinstance(value, float)}
        shown = "  ".join(f"{name} {value:.4f}" for name, value in list(values.items())[:6])
        self._line(f"epoch {trainer.current_epoch + 1}  step {trainer.global_step}  evaluation  {shown}")
        self._start_bar()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
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
            self._line(f"{self._where()}  {self._numbers()}")

    def _numbers(self) -> str:
        if not self.row:
            return ""
        left = self.seconds_left()
        parts = [f"loss {self.row['loss']:.4f}"] if "loss" in self.row else []
        parts += [f"lr {self.row['lr']:.3g}", f"{self.row['images_per_second']:.1f} images/s"]
        return "  ".join(parts + ([] if left is None else [f"{clock(left)} left"]))

    def _where(self) -> str:
        trainer = self._trainer
        assert trainer is not None
        total = self._total()
        of = "" if total is None else f"/{total}"
        return f"epoch {trainer.current_epoch + 1}  step {trainer.global_step}{of}"

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
        if self._trainer is None or not self.on_terminal:
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
