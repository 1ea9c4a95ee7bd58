"""A data set of the user's own: a function named by ``data._target_`` that gives the examples of a split.

The function is called with ``split="train"``, ``"val"`` or ``"test"`` and the keys that stand below ``data``; it raises
``FileNotFoundError`` for a split that the set does not have, and returns :class:`Examples` (or a
:class:`~effdet.data.records.Dataset`, which is taken as it is). Boxes and images go through the same checks as those of every
other reader. :class:`ArrayDataset` is a split whose images lie in one array.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.boxes import Boxes, assemble, category_table
from effdet.data.checks import DataError, Findings, MissingSplit, check_names
from effdet.data.images import OnError
from effdet.data.mask_index import scan_masks
from effdet.data.mask_io import of_size, read_values
from effdet.data.records import IGNORED, Dataset, Record, encode_names
from effdet.data.spec import DataSpec
from effdet.plugins import TARGET, instantiate
from heads.structures import ClassTable, UserError


@dataclass(frozen=True, eq=False)
class Example:
    """One image and what is known of it."""

    image: str | Path | np.ndarray
    """A file, or (h, w, 3) uint8 RGB."""
    boxes: Any = None
    """(N, 4) xyxy, pixels of the image; None where this image labels no boxes, empty where it holds no object."""
    labels: Sequence[str | int] = ()
    """(N,) class names, or their positions in :attr:`Examples.classes`."""
    mask: str | Path | np.ndarray | None = None
    """A file of one channel, or (h, w) integers: positions in :attr:`Examples.semantic_classes`, 255 where ignored."""
    category: str | int | None = None
    """Class of the whole image: a name, or its position in :attr:`Examples.classes`."""
    crowd: Sequence[bool] = ()
    """(N,) boxes around groups, neither trained on nor counted; empty for none."""
    name: str | None = None
    """Unique; by it ``data.val_fraction`` splits. If None, the file, below :attr:`Examples.root`, or the example's number."""


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of one split. All of them hold their images in the same way: as files, or as arrays."""

    items: Iterable[Example]
    classes: Sequence[str] = ()
    """Names of the boxes' or whole images' classes, the same for all splits."""
    semantic_classes: Sequence[str] = ()
    """Names of the masks' classes."""
    root: str | Path | None = None
    """Folder that holds all image files. Examples are then named by their paths below it, so that the set can be moved and
    ``data.val_fraction`` splits it as before; None names them by their paths as given."""


class OwnSource(Dataset):
    """The split of :class:`Examples`; arrays stay in memory, shared by all subsets."""

    def __init__(
        self,
        *args: Any,
        pixels: Sequence[np.ndarray] | np.ndarray,
        masks: Sequence[np.ndarray] = (),
        **options: Any,
    ) -> None:
        """
        Args:
            args, options: as for :class:`effdet.data.records.Dataset`, with image ids from 1.
            pixels: (h, w, 3) uint8 RGB by image id - 1; empty where the images are files.
            masks: (h, w) uint8 likewise; empty where the masks are files.
        """
        super().__init__(*args, **options)
        self._pixels, self._masks = pixels, masks

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        if len(self._pixels) == 0:
            return super().read_image(record, on_error=on_error, at_least=at_least)
        return np.array(self._pixels[record.image_id - 1], order="C")

    def read_mask(self, record: Record) -> np.ndarray | None:
        if self._masks:
            return self._masks[record.image_id - 1]
        if record.mask is None:
            return None
        return of_size(read_values(record.mask), record.mask, record)


class ArrayDataset(OwnSource):
    """Images of one size with a class each.

    Args:
        pixels: (P, h, w, 3) uint8 RGB; shared, never copied: a subset keeps the whole array.
        labels: (P,) int64 in 0…K-1.
        classes: of the images.
        names: (P,) unique names, by which ``data.val_fraction`` splits.
        name, split: as for :class:`effdet.data.records.Dataset`.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        classes: ClassTable,
        *,
        names: Sequence[str],
        name: str,
        split: str,
    ) -> None:
        sizes = np.tile(np.array(pixels.shape[1:3], np.int64), (len(pixels), 1))
        table = category_table(Path(), names, labels, Findings(), sizes=sizes)
        super().__init__(table, classes, name=name, split=split, labelled=("category",), pixels=pixels)


def open_own(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of the data set that ``data._target_`` names."""
    assert spec.target is not None
    try:
        found = instantiate(spec.target, split=spec.file_split)
    except UserError as error:
        kind = MissingSplit if isinstance(error.__cause__, FileNotFoundError) else DataError
        raise kind(f"{spec.title}: {error}") from error
    if isinstance(found, Dataset):
        return found
    if not isinstance(found, Examples):
        kind = type(found).__name__
        raise DataError(f"{spec.title}: {spec.target[TARGET]} gives a {kind}, and must give effdet.data.Examples")
    items = list(found.items)
    if not all(isinstance(item, Example) for item in items):
        raise DataError(f"{spec.title}: {spec.target[TARGET]}: Examples.items must all be effdet.data.Example")
    return _source(spec, items, found, findings)


def _source(spec: DataSpec, items: list[Example], found: Examples, findings: Findings) -> Dataset:
    classes = ClassTable.of([str(name) for name in found.classes], first_id=0)
    check_names([str(name) for name in found.classes], spec.title, findings)
    pixels = _arrays(spec, [item.image for item in items], "image", channels=3)
    named = [item.name or (f"{row:06d}" if pixels else _name(spec, item, found)) for row, item in enumerate(items)]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise DataError(f"{spec.title}: two examples have the name {twice}; names must differ")
    boxes, counts, labels, crowd = [], [], [], []
    for item, name in zip(items, named, strict=True):
        own = np.asarray([] if item.boxes is None else item.boxes, np.float64).reshape(-1, 4)
        if len(own) != len(item.labels) or len(item.crowd) not in (0, len(own)):
            text = f"{len(own)} boxes, {len(item.labels)} labels, {len(item.crowd)} crowd"
            findings.error("bad-annotation", name, text)
            own = own[:0]
        boxes.append(np.concatenate([own[:, :2], own[:, 2:] - own[:, :2]], axis=1))
        counts.append(len(own))
        labels += [_label(label, classes, name, findings) for label in item.labels[: len(own)]]
        crowd += [bool(value) for value in item.crowd] or [False] * len(own)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    owner = np.repeat(np.arange(len(items)), counts)
    bbox = np.concatenate([*boxes, np.zeros((0, 4))])
    table = assemble(
        Path(),
        named,
        Boxes(owner, np.array(labels, np.int64), bbox, crowd=np.array(crowd, np.bool_)),
        lambda row: (named[owner[row]], f"box {row - first[owner[row]]}"),
        findings,
        sizes=np.array([image.shape[:2] for image in pixels]) if pixels else None,
        paths=None if pixels else [str(item.image) for item in items],
        in_memory=bool(pixels),
    )
    rows = table.image_ids - 1  # of the examples whose image can be used
    boxed = np.array([item.boxes is not None for item in items], np.bool_)
    categories = [-1 if item.category is None else _label(item.category, classes, "", findings) for item in items]
    table = replace(table, has_boxes=boxed[rows], categories=np.array(categories, np.int64)[rows])
    labelled = {"boxes"} if boxed.any() else set()
    labelled |= {"category"} if any(item.category is not None for item in items) else set()
    masks: list[np.ndarray] = []
    semantic = None
    if found.semantic_classes and spec.wants("semantic"):
        labelled.add("semantic")
        semantic = ClassTable.of([str(name) for name in found.semantic_classes], first_id=0)
        masks = _arrays(spec, [item.mask for item in items], "mask", channels=0)
        files = ["" if masks or item.mask is None else str(item.mask) for item in items]
        pixels_of = _class_pixels(masks, files, len(semantic), findings)
        table = replace(table, masks=encode_names([files[row] for row in rows]), class_pixels=pixels_of[rows])
    return OwnSource(
        table,
        classes,
        name=spec.name,
        split=spec.split,
        labelled=labelled,
        semantic_classes=semantic,
        pixels=pixels,
        masks=masks,
    )


def _name(spec: DataSpec, item: Example, found: Examples) -> str:
    """The path of an example's file below the root, with slashes; as given where there is no root."""
    if found.root is None:
        return str(item.image)
    file, root = os.path.abspath(str(item.image)), os.path.abspath(found.root)
    if os.path.commonpath([file, root]) != root:
        raise DataError(f"{spec.title}: {item.image} does not lie below Examples.root={found.root}; leave root out")
    return Path(os.path.relpath(file, root)).as_posix()


def _arrays(spec: DataSpec, values: Sequence[Any], what: str, *, channels: int) -> list[np.ndarray]:
    """`values` where they are arrays, none where they are files."""
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if arrays and len(arrays) < len(values):
        raise DataError(f"{spec.title}: every example must hold its {what} as an array, or every one as a file")
    for array in arrays:
        if array.ndim != (3 if channels else 2) or (
            channels and (array.dtype != np.uint8 or array.shape[2] != channels)
        ):
            requested = "(h, w, 3) uint8" if channels else "(h, w) integers"
            raise DataError(f"{spec.title}: an {what} is {array.shape} {array.dtype}, and must be {requested}")
    return arrays if channels else [array.astype(np.uint8) for array in arrays]


def _label(label: str | int, classes: ClassTable, name: str, findings: Findings) -> int:
    """The position of a class, or -1 for an unknown one, which is noted."""
    names = list(classes.names)
    if isinstance(label, str):
        found = names.index(label) if label in names else -1
    else:
        found = int(label) if 0 <= int(label) < len(names) else -1
    if found < 0:
        findings.error("unknown-category", name, f"{label!r} is none of the classes {', '.join(map(str, names))}")
    return found


def _class_pixels(masks: Sequence[np.ndarray], files: Sequence[str], classes: int, findings: Findings) -> np.ndarray:
    """(P, `classes`) int64 pixels of each class; a mask with other values, or that can't be read, is noted."""
    known = [row for row in range(len(files)) if masks or files[row]]
    if masks:
        counts = np.array([np.bincount(mask.reshape(-1), minlength=256) for mask in masks], np.int64).reshape(-1, 256)
        faults = [b""] * len(masks)
    else:
        scan = scan_masks([Path(files[row]) for row in known])
        counts, faults = scan.counts, scan.faults.tolist()
    found = np.zeros((len(files), classes), np.int64)
    for row, count, fault in zip(known, counts, faults, strict=True):
        place = files[row] or f"mask {row}"
        if fault:
            findings.error("unreadable-mask", place, fault.decode(errors="replace"))
        elif wrong := np.flatnonzero(count[classes:IGNORED]).tolist():
            text = f"holds {wrong[0] + classes}, and there are {classes} classes and 255"
            findings.error("bad-mask-value", place, text)
        found[row] = count[:classes]
    return found
