"""The resident set of this process: how much physical memory it holds, in bytes.

Linux tells the present value and its peak, and lets the peak be reset; other systems tell the peak alone, which is then an
upper bound, since it includes the building of the model.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes now (elsewhere than on Linux: the peak so far)."""
    return _status("VmRSS") if _STATUS.is_file() else _peak_so_far()


def peak_resident(work: Callable[[], object]) -> int:
    """The most that this process holds while `work` runs."""
    if not _STATUS.is_file():
        work()
        return _peak_so_far()
    _RESET.write_text("5")  # proc(5): resets VmHWM to what is held now
    work()
    return _status("VmHWM")


def return_freed() -> None:
    """Give freed memory back to the system, where the C library can be asked to."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def _peak_so_far() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
