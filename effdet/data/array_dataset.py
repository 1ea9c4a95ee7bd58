"""A set whose images lie in one array, not in files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from effdet.data.images import OnError
from effdet.data.records import Dataset, Record, RecordTable, encode_names
from heads.structures import ClassTable


def category_table(
    names: Sequence[str],
    labels: np.ndarray,
    sizes: np.ndarray,
    *,
    root: Path = Path(),
    paths: Sequence[str] | None = None,
) -> RecordTable:
    """Records of a set that labels whole images and no boxes; image ids count up from 1.

    Args:
        names: (P,) of the images, as the set writes them.
        labels: (P,) int64 in 0…K-1.
        sizes: (P, 2) int64 height, width.
        root: folder to which `paths` count.
        paths: (P,) where the images lie; `names` if None.
    """
    count = len(names)
    none = np.zeros(0)
    return RecordTable(
        root=root,
        image_ids=np.arange(1, count + 1),
        file_names=encode_names(names),
        paths=encode_names(names if paths is None else paths),
        sizes=np.asarray(sizes, np.int64).reshape(-1, 2),
        starts=np.zeros(count + 1, np.int64),
        bbox=none.reshape(0, 4),
        labels=none.astype(np.int64),
        crowd=none.astype(np.bool_),
        area=none,
        annotation_ids=none.astype(np.int64),
        categories=np.asarray(labels, np.int64),
        has_boxes=np.zeros(count, np.bool_),
    )


class ArrayDataset(Dataset):
    """Images of one size with a class each.

    Args:
        pixels: (P, h, w, 3) uint8 RGB; shared, never copied: a subset keeps the whole array.
        labels: (P,) int64 in 0…K-1.
        classes: of the images.
        names: (P,) unique names, by which ``data.val_fraction`` splits.
        name, split, warnings: as for :class:`effdet.data.records.Dataset`.
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
        warnings: Iterable[str] = (),
    ) -> None:
        sizes = np.tile(np.array(pixels.shape[1:3], np.int64), (len(pixels), 1))
        table = category_table(names, labels, sizes)
        super().__init__(table, classes, name=name, split=split, labelled=("category",), warnings=warnings)
        self._pixels = pixels

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        return np.array(self._pixels[record.image_id - 1], order="C")
