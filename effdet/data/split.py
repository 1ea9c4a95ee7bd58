"""Holding out a part of train as val, stably: an image's side depends on its own name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from effdet.data.checks import DataError
from effdet.data.records import Dataset
from effdet.files import decode_name, encode_name


def held_out(file_names: Iterable[str], fraction: float) -> np.ndarray:
    """(P,) bool: which images are held out.

    The name's sha256 is read as a number in [0, 1) and compared with `fraction`: adding or removing other images
    moves none, a larger fraction only adds to val, and the same name always falls on the same side.
    """
    names = [name.replace("\\", "/").removeprefix("./") for name in file_names]
    hashes = [int.from_bytes(hashlib.sha256(encode_name(name)).digest()[:8]) / 2**64 for name in names]
    return np.array(hashes, np.float64) < fraction


def split_train(source: Dataset, *, split: str, fraction: float) -> Dataset:
    """The part of a train `source` that is train or val under ``data.val_fraction``."""
    held = held_out((decode_name(name) for name in source.records.file_names), fraction)
    chosen = np.flatnonzero(held if split == "val" else ~held)
    if len(chosen) == 0:
        raise DataError(
            f"data.val_fraction={fraction} of {len(source)} train images leaves {split} without any: "
            f"{'raise' if split == 'val' else 'lower'} it"
        )
    smaller = source.subset(chosen)
    smaller.split = split
    return smaller
