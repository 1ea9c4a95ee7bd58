"""Classes without a trace: those that a split names and none of its images shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from effdet.data.records import Dataset
from heads.structures import ClassTable

NAMED = 10
"""As many classes are named in a message."""
_UNITS = {"boxes": "box", "semantic": "pixel", "category": "image"}


def without_trace(train: Dataset, val: Dataset) -> list[str]:
    """A line for each kind of label of which classes are missing: in train they cannot be learnt, in val not measured.

    Crowds and ignored pixels show no class. Classes of val are compared by name with those of train.
    """
    return [*_of(train, val)]


def _of(train: Dataset, val: Dataset) -> Iterator[str]:
    for label, unit in _UNITS.items():
        if label not in train.labelled:
            continue
        learnt = _counts(train, label)
        if learnt is None:
            continue
        table = _table(train, label)
        if missing := _names(table, learnt == 0):
            hint = "; do data.values and data.ignored fit the values in the masks?" if label == "semantic" else ""
            yield f"train: no {unit} of {_listed(missing, len(table))}: nothing can be learnt of it{hint}"
        if label not in val.labelled or (measured := _counts(val, label)) is None:
            continue
        own = _table(val, label)
        known = {name for name, count in zip(table.names, learnt, strict=True) if count}
        foreign = [
            str(name) for name, count in zip(own.names, measured, strict=True) if count and name and name not in known
        ]
        if foreign:
            yield f"val: shows {_listed(foreign, len(own))}, of which train has none: it cannot be found"
        if unseen := _names(own, measured == 0):
            yield f"val: no {unit} of {_listed(unseen, len(own))}: it is not measured"


def _table(source: Dataset, label: str) -> ClassTable:
    return (source.semantic_classes or source.classes) if label == "semantic" else source.classes


def _counts(source: Dataset, label: str) -> np.ndarray | None:
    """(K,) int64: boxes, pixels or images of each class; None where the split does not say."""
    records, count = source.records, len(_table(source, label))
    if label == "semantic":
        return None if records.class_pixels is None else records.class_pixels.sum(axis=0)
    if label == "boxes":
        return np.bincount(records.labels[~records.crowd], minlength=count)
    labels = records.categories
    return None if labels is None else np.bincount(labels[labels >= 0], minlength=count)


def _names(table: ClassTable, chosen: np.ndarray) -> list[str]:
    return [str(name) for name, requested in zip(table.names, chosen, strict=True) if requested and name]


def _listed(names: Sequence[str], total: int) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} of {total} classes ({', '.join(names[:NAMED])}{more})"
