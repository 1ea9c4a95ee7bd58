"""SIGTERM (pre-emption) and Ctrl-C: save, then leave, with an exit code that says which."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer

from effdet.training.errors import Interrupted

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
        # Lightning has put a handler of its own before ours, which would leave in mid-accumulation, unsaved.
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
