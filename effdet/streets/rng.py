"""Random numbers of `streets`: each stream is a function of the seed and a few names, never of call order."""

from __future__ import annotations

import zlib

import numpy as np

SPLITS = ("train", "val", "test")


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A generator for `keys`; strings are hashed by CRC-32, which is the same in every process."""
    numbers = [key & 0xFFFFFFFF if isinstance(key, int) else zlib.crc32(key.encode()) for key in keys]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, *numbers])))
