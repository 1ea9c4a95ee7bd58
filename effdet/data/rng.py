"""Random choices as a function of keys, never of how often a generator was called.

A sample's augmentation depends only on (seed, epoch, index), so neither the number of workers nor an interruption
changes a run.
"""

from __future__ import annotations

import zlib

import numpy as np

from heads.structures import UserError

UINT32 = 2**32


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A fresh generator for (`seed`, `keys`); the same arguments always give the same numbers.

    Args:
        seed: the run's seed, from 0 to 2⁶⁴ - 1.
        keys: non-negative integers below 2³², or words that name a stream (``"permutation"``).
    """
    if not 0 <= seed < 2**64:
        raise UserError(f"seed={seed} must lie between 0 and 2^64 - 1")
    numbers = [zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys]
    # SeedSequence pads its entropy with zeros, so (1, 2) and (1, 2, 0) would give the same stream: the count tells
    # them apart.
    entropy = [len(numbers), seed % UINT32, seed // UINT32, *numbers]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
