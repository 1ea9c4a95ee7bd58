"""One kind of work at growing amounts: seconds and peak memory of each."""

from __future__ import annotations

import ctypes
import gc
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Series:
    """One kind of work at growing amounts."""

    name: str
    title: str
    unit: str
    """Of the amounts."""
    amounts: tuple[float, ...]
    seconds: tuple[float, ...]
    bytes: tuple[int, ...]
    """Peak above what the process held before."""


def measure(work: Callable[[], object], *, rounds: int = 2) -> tuple[float, int]:
    """Least seconds of `rounds` after one to warm up, and the most bytes above what was held before."""
    from benchmarks.peers.loop import memory

    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # else work would take what earlier work left, and not be seen
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    held, seconds = memory()["now"], []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]), max(memory()["peak"] - held, 0)


def collect(name: str, title: str, unit: str, points: Iterator[tuple[float, Callable[[], object]]]) -> Series:
    amounts, seconds, peaks = [], [], []
    for amount, work in points:
        took, peak = measure(work)
        amounts.append(amount), seconds.append(took), peaks.append(peak)
        del work
    return Series(name, title, unit, tuple(amounts), tuple(seconds), tuple(peaks))
