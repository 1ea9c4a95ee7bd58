"""How many processes there may be, and loader processes that leave Ctrl-C to the process that started them.

A terminal sends Ctrl-C to every process of a command. The first one answers it, and may need its workers to finish and
save the step it is in; it ends them when it is done.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


def cores(most: int | None = None) -> int:
    """Cores that this process may use, `most` at the most."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return count if most is None else min(count, most)


def ignore_interrupt(worker: int) -> None:
    """A DataLoader's ``worker_init_fn``: ignores Ctrl-C from here on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def ignore_signals_in_children() -> Iterator[None]:
    """Processes that are started inside ignore Ctrl-C, also while they import (``spawn``).

    They inherit the mask of blocked signals. One that comes meanwhile is delivered at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
