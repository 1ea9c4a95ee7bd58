"""Holding out a part of train as val, stably: an image's side depends on its own name only.

For embeddings what is held out is identities, not images, so that evaluation meets none that training saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from effdet.data.checks import DataError
from effdet.data.records import Dataset
from effdet.files import decode_name, encode_name
from heads.structures import ClassTable


def held_out(names: Iterable[str], fraction: float) -> np.ndarray:
    """(P,) bool: which images (or classes) are held out.

    The name's sha256 is read as a number in [0, 1) and compared with `fraction`: adding or removing other images
    moves none, a larger fraction only adds to val, and the same name always falls on the same side.
    """
    plain = [name.replace("\\", "/").removeprefix("./") for name in names]
    hashes = [int.from_bytes(hashlib.sha256(encode_name(name)).digest()[:8]) / 2**64 for name in plain]
    return np.array(hashes, np.float64) < fraction


def split_train(source: Dataset, *, split: str, fraction: float, identities: bool = False) -> Dataset:
    """The part of a train `source` that is train or val under ``data.val_fraction``.

    With `identities` its classes are divided, not its images, and numbered from 0 on each side.
    """
    if identities:
        names, what = [str(name) for name in source.classes.names], "classes"
    else:
        names, what = [decode_name(name) for name in source.records.file_names], "train images"
    held = held_out(names, fraction)
    chosen = np.flatnonzero(held if split == "val" else ~held)
    if len(chosen) == 0:
        raise DataError(
            f"data.val_fraction={fraction} of {len(names)} {what} leaves {split} without any: "
            f"{'raise' if split == 'val' else 'lower'} it"
        )
    smaller = relabelled(source, chosen) if identities else source.subset(chosen)
    smaller.split = split
    return smaller


def as_identities(source: Dataset) -> Dataset:
    """`source` as a set of identities: the classes that have images, numbered from 0.

    Raises:
        DataError: it labels no whole images.
    """
    categories = source.records.categories
    if categories is None or "category" not in source.labelled:
        raise DataError(f"data={source.name} labels {', '.join(sorted(source.labelled))}, and no identities")
    smaller = relabelled(source, np.unique(categories[categories >= 0]))
    smaller.labelled = frozenset({"category", "identity"})
    return smaller


def relabelled(source: Dataset, chosen: np.ndarray) -> Dataset:
    """The images of the classes `chosen` (numbers), which become 0, 1, 2, …"""
    categories = source.records.categories
    assert categories is not None, "a set of whole images"
    kept = np.isin(categories, chosen)
    smaller = source.subset(np.flatnonzero(kept))
    smaller.records = replace(smaller.records, categories=np.searchsorted(chosen, categories[kept]))
    table = source.classes
    smaller.classes = ClassTable(
        tuple(table.names[index] for index in chosen), tuple(table.ids[index] for index in chosen)
    )
    return smaller
