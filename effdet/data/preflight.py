"""What is found before the first step and not in the middle of an epoch: undecodable images, and classes without examples.

What is evaluated on (val, test) is decoded whole: about as long as one reading of the split, and once only, since a split of
which every file was decoded is remembered by the paths, sizes and times of its files. A training set may be hundreds of
times larger: of its files the ends are read, which a cut-off download or copy lacks, and those without one are decoded.
``effdet doctor`` decodes everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from effdet.data.checks import DataError
from effdet.data.images import OnError
from effdet.data.parsed_cache import cached_file, load_arrays, store_arrays
from effdet.data.records import Dataset
from effdet.files import decode_name
from effdet.workers import cores
from heads.structures import ClassTable

TAIL = 64
"""Bytes at the end of a file in which the marker of its end must stand."""
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND", b"GI": b"\x3b"}
"""The end of a JPEG, a PNG and a GIF, by how the file begins."""
NAMED = 10
"""As many files or classes are named in a message."""
VERSION = 1


def undecodable(source: Dataset) -> dict[int, str]:
    """What is wrong, by the index of each image of `source` that cannot be decoded whole, masks of objects included.

    Every file is read, unless all of them were before and none has changed.
    """
    paths = _paths(source)
    about = f"{VERSION} {type(source).__name__} {source.records.sizes.tolist()}"
    known = None if paths is None else cached_file("decoded", about, paths)
    if known is not None and load_arrays(known) is not None:
        return {}
    found = _decode(source, range(len(source)))
    if known is not None and not found:
        store_arrays(known, {"images": np.array(len(source))})
    return found


def cut_off(source: Dataset) -> dict[int, str]:
    """The same of a training set, of only the files whose end is missing."""
    paths = _paths(source)
    if paths is None:
        return {}
    with ThreadPoolExecutor(cores(16)) as pool:
        whole = list(pool.map(_has_end, paths))
    return _decode(source, [index for index, ends in enumerate(whole) if not ends])


def without_undecodable(source: Dataset, found: dict[int, str]) -> Dataset:
    """`source` without the images that `found` names.

    Raises:
        DataError: none is left.
    """
    kept = [index for index in range(len(source)) if index not in found]
    if not kept:
        raise DataError(f"data={source.name} split={source.split}: none of its {len(source)} images can be decoded")
    return source.subset(kept) if found else source


def report(source: Dataset, found: dict[int, str], on_error: OnError, *, becomes: str) -> str:
    """One line about the images `found`: an error's text, or a warning's that says what `becomes` of them."""
    lines = list(found.values())
    more = f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    what = f"{len(found)} of {len(source)} images cannot be decoded"
    tail = (
        "mend or remove them (effdet doctor names all), or set data.unreadable=warn"
        if on_error == "error"
        else f"data.unreadable=warn: {becomes}"
    )
    return f"{source.split}: {what}: {'; '.join(lines[:NAMED])}{more}; {tail}"


def _decode(source: Dataset, indices: Sequence[int]) -> dict[int, str]:
    """Decodes the images at `indices`, each file once."""
    records = source.records

    def attempt(index: int) -> str | None:
        record = records[index]
        try:
            source.read_image(record)
            source.read_instances(record)
        except DataError as error:
            return str(error)
        return None

    first: dict[Path, int] = {}
    owner = {index: first.setdefault(records[index].image, index) for index in indices}
    chosen = list(first.values())
    with ThreadPoolExecutor(cores(16)) as pool:
        answers = dict(zip(chosen, pool.map(attempt, chosen), strict=True))
    return {index: text for index in indices if (text := answers[owner[index]]) is not None}


def _paths(source: Dataset) -> list[Path] | None:
    """The files of the images; None where an image is not a file of its own (arrays in memory, shards)."""
    table = source.records
    paths = [table.root / decode_name(name) for name in table.paths]  # records would take seconds to make
    return paths if paths and paths[0].is_file() else None


def _has_end(path: Path) -> bool:
    """Whether the file has the end that its kind must have; files of other kinds, and missing ones, are left to others."""
    try:
        with path.open("rb") as file:
            marker = ENDS.get(file.read(2))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL, 0))
            tail = file.read().rstrip(b"\0")
    except OSError:
        return False
    return size > 0 and (marker is None or marker in tail)


_UNITS = {"boxes": "box", "semantic": "pixel", "category": "image"}


def unseen_classes(train: Dataset, val: Dataset) -> list[str]:
    """A line for each kind of label of which classes are missing: in train they cannot be learnt, in val not measured.

    Crowds and ignored pixels show no class. Classes of val are compared by name with those of train.
    """
    return [*_of(train, val)]


def _of(train: Dataset, val: Dataset) -> Iterator[str]:
    for label, unit in _UNITS.items():
        if label not in train.labelled:
            continue
        learnt = class_counts(train, label)
        if learnt is None:
            continue
        table = class_table(train, label)
        if missing := _names(table, learnt == 0):
            hint = "; do data.values and data.ignored fit the values in the masks?" if label == "semantic" else ""
            yield f"train: no {unit} of {_listed(missing, len(table))}: nothing can be learnt of it{hint}"
        if label not in val.labelled or (measured := class_counts(val, label)) is None:
            continue
        own = class_table(val, label)
        known = {name for name, count in zip(table.names, learnt, strict=True) if count}
        foreign = [
            str(name) for name, count in zip(own.names, measured, strict=True) if count and name and name not in known
        ]
        if foreign:
            yield f"val: shows {_listed(foreign, len(own))}, of which train has none: it cannot be found"
        if unseen := _names(own, measured == 0):
            yield f"val: no {unit} of {_listed(unseen, len(own))}: it is not measured"


def class_table(source: Dataset, label: str) -> ClassTable:
    """The classes of ``boxes``, ``semantic`` or ``category``."""
    return (source.semantic_classes or source.classes) if label == "semantic" else source.classes


def class_counts(source: Dataset, label: str) -> np.ndarray | None:
    """(K,) int64: boxes, pixels or images of each class; None where the split does not say. Crowds do not count."""
    records, count = source.records, len(class_table(source, label))
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
