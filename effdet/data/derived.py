"""Datasets made of others: two sets as one, and the boxes of a set cut out.

In a mixed set an image of the first has no mask (it is ignored throughout), one of the second labels no boxes: each adds the
losses of what it labels. The images of the two alternate in proportion to their numbers, so that any first part holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from effdet.data.boxes import category_table
from effdet.data.checks import DataError, Findings
from effdet.data.images import OnError
from effdet.data.listing import json_of
from effdet.data.records import Dataset, Record, RecordTable, encode_names, xyxy
from effdet.files import decode_name
from heads.structures import ClassTable


class MixedDataset(Dataset):
    """The images of several sources, of which each labels other things."""

    def __init__(self, parts: Sequence[Dataset], *, name: str, split: str) -> None:
        """
        Args:
            parts: of which one labels boxes and another one masks.
            name: of the whole.
            split: of the whole.
        """
        boxed = next(part for part in parts if "boxes" in part.labelled)
        masked = next(part for part in parts if "semantic" in part.labelled)
        table, self._part_of = interleaved([part.records for part in parts], boxed=[part is boxed for part in parts])
        super().__init__(
            table,
            boxed.classes,
            name=name,
            split=split,
            labelled=("boxes", "semantic"),
            semantic_classes=masked.semantic_classes,
            warnings=[f"{part.name}: {line}" for part in parts for line in part.warnings],
        )
        self.parts = tuple(parts)
        self._masked = masked

    @property
    def void_id(self) -> int:
        return self._masked.void_id

    def _part(self, record: Record) -> Dataset:
        return self.parts[self._part_of[record.image_id]]

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        return self._part(record).read_image(record, on_error=on_error, at_least=at_least)

    def read_mask(self, record: Record) -> np.ndarray | None:
        part = self._part(record)
        return part.read_mask(record) if part is self._masked else None

    def read_instances(self, record: Record) -> np.ndarray | None:
        part = self._part(record)
        return part.read_instances(record) if part is self._masked else None


def interleaved(tables: Sequence[RecordTable], *, boxed: Sequence[bool]) -> tuple[RecordTable, np.ndarray]:
    """The images of several tables in one, alternating in proportion.

    Args:
        tables: of which only those in `boxed` label boxes.

    Returns:
        The table, its images with image ids from 1 on, and (P + 1,) int64 the table that each image id comes from.
    """
    counts = [len(table) for table in tables]
    part = np.repeat(np.arange(len(tables)), counts)
    place = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    order = np.lexsort((part, place))
    joined = _joined(tables, boxed)
    ids = np.arange(1, len(order) + 1)
    mixed = replace(joined.subset(order), image_ids=ids)
    return mixed, np.concatenate([[-1], part[order]])


def _joined(tables: Sequence[RecordTable], boxed: Sequence[bool]) -> RecordTable:
    """One table after another, with absolute paths."""
    width = max([0, *(table.class_pixels.shape[1] for table in tables if table.class_pixels is not None)])
    none = [np.zeros((len(table), width), np.int64) for table in tables]
    pixels = [zeros if (own := table.class_pixels) is None else own for table, zeros in zip(tables, none, strict=True)]
    flags = [
        np.full(len(table), boxes) if table.has_boxes is None else table.has_boxes & boxes
        for table, boxes in zip(tables, boxed, strict=True)
    ]
    joined = ("image_ids", "sizes", "bbox", "labels", "crowd", "area", "annotation_ids")
    return RecordTable(
        root=Path(),
        file_names=encode_names([decode_name(name) for table in tables for name in table.file_names.tolist()]),
        paths=_absolute(tables, [table.paths for table in tables]),
        starts=np.concatenate([[0], np.cumsum(np.concatenate([np.diff(table.starts) for table in tables]))]),
        masks=_absolute(tables, [table.masks for table in tables]),
        instances=_absolute(tables, [table.instances for table in tables]),
        class_pixels=np.concatenate(pixels),
        has_boxes=np.concatenate(flags),
        **{name: np.concatenate([getattr(table, name) for table in tables]) for name in joined},
    )


def _absolute(tables: Sequence[RecordTable], columns: Sequence[np.ndarray | None]) -> np.ndarray:
    """Paths of each table from its own root; empty ones stay empty."""
    found: list[str] = []
    for table, column in zip(tables, columns, strict=True):
        names = [""] * len(table) if column is None else [decode_name(name) for name in column.tolist()]
        found += [str((table.root / name).absolute()) if name else "" for name in names]
    return encode_names(found)


MARGIN = 0.1
"""Share of the box's longer side that is left around it on each side, as far as the image goes."""
MIN_SIDE = 12.0
"""Pixels: the longer side of the smallest thing that is cut out."""


class CropDataset(Dataset):
    """Cut-out things; made by :meth:`of`. Record k + 1 is window k of the scenes."""

    _scenes: Dataset
    _owners: np.ndarray
    """(N,) position of each window's scene."""
    _windows: np.ndarray
    """(N, 4) int64 xyxy, pixels of the scene."""
    annotation_ids: np.ndarray
    """(N,) int64 the set's own id of each window's thing."""

    @classmethod
    def of(cls, scenes: Dataset) -> CropDataset:
        """Every box of `scenes` of `MIN_SIDE` and more that is not a crowd.

        Raises:
            DataError: there is none.
        """
        table = scenes.records
        owners = np.repeat(np.arange(len(table)), np.diff(table.starts))
        chosen = np.flatnonzero(~table.crowd & (table.bbox[:, 2:].max(axis=1, initial=0) >= MIN_SIDE))
        if len(chosen) == 0:
            raise DataError(f"data={scenes.name}: no thing is large enough to be cut out ({MIN_SIDE:g} pixels)")
        owners, boxes = owners[chosen], xyxy(table.bbox[chosen])
        margin = MARGIN * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
        limits = np.tile(table.sizes[owners][:, ::-1], (1, 2))
        low = np.clip(np.floor(boxes - margin), 0, limits - 1)[:, :2]
        high = np.maximum(np.clip(np.ceil(boxes + margin), 0, limits)[:, 2:], low + 1)
        windows = np.concatenate([low, high], axis=1).astype(np.int64)
        files, numbers = table.file_names[owners].tolist(), table.annotation_ids[chosen].tolist()
        names = [f"{decode_name(file)}#{number}" for file, number in zip(files, numbers, strict=True)]
        sizes = (windows[:, 2:] - windows[:, :2])[:, ::-1]
        paths = [decode_name(path) for path in table.paths[owners].tolist()]
        records = category_table(table.root, names, table.labels[chosen], Findings(), sizes=sizes, paths=paths)
        source = cls(records, scenes.classes, name=scenes.name, split=scenes.split, labelled=("category",))
        source.warnings = list(scenes.warnings)
        source._scenes, source._owners, source._windows = scenes, owners, windows
        source.annotation_ids = table.annotation_ids[chosen]
        return source

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        window = record.image_id - 1
        scene = self._scenes.records[int(self._owners[window])]
        x1, y1, x2, y2 = self._windows[window].tolist()
        return np.ascontiguousarray(self._scenes.read_image(scene, on_error=on_error)[y1:y2, x1:x2])


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
