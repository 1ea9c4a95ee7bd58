"""Two sets as one: the boxes of the first, the masks of the second.

An image of the first has no mask (it is ignored throughout), one of the second labels no boxes: each adds the losses of
what it labels. The images of the two alternate in proportion to their numbers, so that any first part holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from effdet.data.images import OnError
from effdet.data.records import Dataset, Record, RecordTable, encode_names
from effdet.files import decode_name


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
