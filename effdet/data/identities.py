"""Sets for embeddings: what is held out is identities, not images, so that evaluation meets none that training saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from effdet.data.checks import DataError
from effdet.data.crops import CropDataset
from effdet.data.listing import json_of
from effdet.data.records import Dataset
from effdet.data.split import held_out
from heads.structures import ClassTable


def split_identities(source: Dataset, *, split: str, fraction: float) -> Dataset:
    """The classes of a train `source` that are train's or val's under ``data.val_fraction``, numbered from 0.

    A class's side depends on its own name alone, as an image's does elsewhere (:mod:`effdet.data.split`).
    """
    names = [str(name) for name in source.classes.names]
    held = held_out(names, fraction)
    chosen = np.flatnonzero(held if split == "val" else ~held)
    if len(chosen) == 0:
        raise DataError(
            f"data.val_fraction={fraction} of {len(names)} classes leaves {split} without any: "
            f"{'raise' if split == 'val' else 'lower'} it"
        )
    smaller = relabelled(source, chosen)
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
    smaller = source.subset(np.flatnonzero(np.isin(categories, chosen)))
    kept = smaller.records.categories
    assert kept is not None
    smaller.records = replace(smaller.records, categories=np.searchsorted(chosen, kept))
    table = source.classes
    smaller.classes = ClassTable(
        tuple(table.names[index] for index in chosen), tuple(table.ids[index] for index in chosen)
    )
    return smaller


def street_identities(scenes: Dataset, annotations: Path) -> Dataset:
    """The things of generated scenes, each labelled by who it is (``identity`` of its annotation), not by its class.

    Args:
        scenes: opened from `annotations`.
        annotations: the COCO file; those of a split name identities that no other split has.

    Raises:
        DataError: the file names no identities.
    """
    crops = CropDataset.of(scenes)
    content = json_of(annotations)
    owners = {row["id"]: row.get("identity") for row in content["annotations"]}
    who = [owners.get(number) for number in crops.annotation_ids.tolist()]
    if any(number is None for number in who):
        raise DataError(
            f"{annotations}: its annotations have no key identity: only generated scenes can say who is who"
        )
    numbers, labels = np.unique(np.array(who, np.int64), return_inverse=True)
    crops.records = replace(crops.records, categories=labels.astype(np.int64))
    crops.classes = ClassTable(tuple(f"identity {number}" for number in numbers.tolist()), tuple(numbers.tolist()))
    return crops
