"""Freed memory stays with the process: on a CPU, a model asks for the same large tensors again at every step.

The C library of most Linux systems returns large blocks to the kernel as they are freed, and gets them back as pages that
must be zeroed and mapped one by one: a seventh of a training step goes there (measured: a detector of phi = -2 at 256 px,
batch 8, one thread of an AMD EPYC, 68,000 page faults a step against 1,500).
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of glibc's ``mallopt``."""


def keep_freed_memory() -> bool:
    """Let freed memory be used again instead of returned; holds for the rest of the process.

    Returns:
        Whether the C library took it; only glibc has these settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    return all(library.mallopt(*pair) == 1 for pair in settings)
