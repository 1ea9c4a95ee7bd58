"""``best.ckpt`` and ``last.ckpt``; and SIGTERM (pre-emption) and Ctrl-C: save, then leave, with the signal's exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Self

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from effdet.files import remove_partial
from effdet.training.checkpoints import BEST, LAST, read_checkpoint, write_checkpoint
from effdet.training.errors import CheckpointError, Interrupted
from effdet.training.lightning_internals import is_within_step
from effdet.training.monitor import beats, measured
from effdet.training.resume_point import ResumePoint
from effdet.training.settings import CheckpointSettings
from heads.structures import UserError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_EVERY = 10


class Interrupts(Callback):
    """Notes a signal, and lets the checkpoint callback act on it at the next border of two optimiser steps.

    Use as a context manager around ``trainer.fit``. A second Ctrl-C leaves at once, and so does any signal that comes
    while there is nothing unsaved: before the first step, and during an evaluation (the state is saved before it). A
    second SIGTERM says nothing new: job managers send it to a group and to each process of it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.at_once = True
        """Whether leaving now loses nothing."""
        self.advice = ""
        """How to go on, for the message."""
        self._old: dict[int, Any] = {}
        self._trainer: Trainer | None = None
        self._asked = 0
        self._process = os.getpid()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._old = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning has put its handler before ours, which would leave in mid-accumulation, unsaved.
        self._trainer = trainer
        if self._old:
            signal.signal(signal.SIGTERM, self._handle)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.at_once = False

    def agreed(self, trainer: Trainer) -> bool:
        """Whether to stop now, the same answer on every process.

        Several processes ask each other every tenth time only: it makes them wait for one another.
        """
        if trainer.world_size == 1:
            return self.received is not None
        self._asked += 1
        if self._asked % _EVERY:
            return False
        return trainer.strategy.reduce_boolean_decision(self.received is not None, all=False)

    def leave(self, where: str) -> Interrupted:
        """The exception to raise."""
        signum = self.received or signal.SIGTERM
        return Interrupted(signum, f"stopped by {signal.Signals(signum).name} {where}; {self.advice}")

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker has inherited this handler
            if signum == signal.SIGTERM:
                os._exit(128 + signum)
            return
        launcher = self._trainer.strategy.launcher if self._trainer is not None else None
        if self.received is None and launcher is not None and signum == signal.SIGTERM:
            launcher.kill(signum)  # the processes that this one has started
        again = self.received is not None
        if again and signum == signal.SIGTERM:
            return
        if self.at_once or again:
            self.received = signum
            raise self.leave("for the second time: the last step is not saved" if again else "with everything saved")
        self.received = signum
        print(
            f"\n{signal.Signals(signum).name}: saving after this step, then leaving (Ctrl-C now: leave at once)",
            file=sys.stderr,
            flush=True,
        )


class CheckpointSaver(Checkpoint):
    """Saves at places from which a run can go on exactly, and only there.

    ``last.ckpt``: every N steps or minutes, before each evaluation, after each epoch, and when asked to stop.
    ``best.ckpt``: after an evaluation that beats the ones before; where none measured anything, after the newest.

    Args:
        interrupts: says when the run is to stop.
        monitor: name of the metric, as the evaluation gives it; None for no ``best.ckpt``.
    """

    def __init__(
        self,
        directory: Path,
        settings: CheckpointSettings,
        interrupts: Interrupts,
        *,
        monitor: str | None = None,
        mode: str = "max",
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.interrupts = interrupts
        self.monitor = monitor
        self.mode = mode
        self.best_score: float | None = None
        self.best_step = -1
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0
        self._saved: tuple[int, ResumePoint] | None = None
        self._at_border = False
        """Whether no step is half done."""

    @property
    def last_path(self) -> Path:
        return self.directory / LAST

    @property
    def best_path(self) -> Path:
        return self.directory / BEST

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best_score"]
        self.best_score, self.best_step = None if best is None else measured(best), state_dict["best_step"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            remove_partial(self.directory)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._at_border = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if is_within_step(trainer):
            return  # half of a step's gradients is nothing that a checkpoint holds
        self._at_border = True
        stop = self.interrupts.agreed(trainer)
        if stop or self._due(trainer):
            self._save_last(trainer, ResumePoint(trainer.current_epoch, batch_idx + 1))
        if stop:
            raise self.interrupts.leave(f"after step {trainer.global_step}, which is saved")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        place = ResumePoint(trainer.current_epoch, trainer.fit_loop.batch_idx + 1)
        if self._affordable(trainer):
            self._save_last(trainer, place)
        self.interrupts.at_once = self._saved == (trainer.global_step, place)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.interrupts.at_once = False
        if trainer.sanity_checking or self.monitor is None:
            return
        metrics: dict[str, Any] = pl_module.metrics  # type: ignore[assignment]
        if self.monitor not in metrics:
            known = ", ".join(name for name, value in metrics.items() if isinstance(value, (int, float)))
            raise UserError(f"monitor={self.monitor} is not among the metrics of the evaluation: {known or 'none'}")
        score = measured(metrics[self.monitor])
        # Before any score, the newest weights stand in for the best, also over evaluations that measured nothing.
        if self.best_score is None or score is not None and beats(score, self.best_score, self.mode):
            self.best_score, self.best_step = score, trainer.global_step
            place = ResumePoint(trainer.current_epoch, trainer.fit_loop.batch_idx + 1, evaluated=True)
            self._save(trainer, self.best_path, place)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        consumed = trainer.fit_loop.batch_idx + 1
        whole = consumed >= trainer.num_training_batches
        epoch = trainer.current_epoch
        place = ResumePoint(epoch + 1, 0) if whole else ResumePoint(epoch, consumed, evaluated=True)
        final = trainer.should_stop or epoch + 1 == trainer.max_epochs
        if final or self._affordable(trainer):
            self._save_last(trainer, place)

    def save_evaluated(self, trainer: Trainer) -> None:
        """After an evaluation that a resume made up for: the next one finds that it has been."""
        self._save_last(trainer, ResumePoint(trainer.current_epoch, trainer.fit_loop.batch_idx + 1, evaluated=True))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # A signal to the whole group also ends the loader's workers, and what we then see is an error of the loader.
        fled = self.interrupts.received is not None and not isinstance(exception, (Interrupted, CheckpointError))
        if fled and self._at_border and trainer.world_size == 1:
            self._save_last(trainer, ResumePoint(trainer.current_epoch, trainer.fit_loop.batch_idx + 1))

    def _due(self, trainer: Trainer) -> bool:
        every_steps, minutes = self.settings.every_steps, self.settings.every_minutes
        if every_steps and trainer.global_step % every_steps == 0:
            return True
        if not minutes or (trainer.world_size > 1 and trainer.global_step % 10):
            return False  # clocks differ: the processes agree at every tenth step
        return self._agree(trainer, time.monotonic() - self._saved_at >= 60 * minutes)

    def _affordable(self, trainer: Trainer) -> bool:
        share = self.settings.max_share
        since = time.monotonic() - self._saved_at
        return self._agree(trainer, share >= 1 or since >= self._save_seconds * (1 / max(share, 1e-6) - 1))

    @staticmethod
    def _agree(trainer: Trainer, decision: bool) -> bool:
        return decision if trainer.world_size == 1 else trainer.strategy.broadcast(decision)

    def _save_last(self, trainer: Trainer, place: ResumePoint) -> None:
        if self._saved != (trainer.global_step, place):
            self._save(trainer, self.last_path, place)
            self._saved = (trainer.global_step, place)

    def _save(self, trainer: Trainer, path: Path, place: ResumePoint) -> None:
        started = time.monotonic()
        module: Any = trainer.lightning_module
        module.save_at = place
        try:
            trainer.save_checkpoint(path)
        finally:
            module.save_at = None
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes atomically, reads without running code.

    Args:
        keep_previous: when ``last.ckpt`` is replaced, the old one stays as ``last.ckpt.previous``.
    """

    def __init__(self, *, keep_previous: bool = True) -> None:
        super().__init__()
        self.keep_previous = keep_previous

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r} has no meaning for a local file")
        write_checkpoint(path, checkpoint, previous=self.keep_previous and Path(path).name == LAST)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path)
