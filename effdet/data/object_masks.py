"""Masks of single objects of a COCO file, kept as run lengths until one is asked for.

They are read only for a training that pastes objects (``augment.copy_paste``): COCO's train2017 has 860,000 of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.coco_json import load_json
from effdet.data.records import RecordTable
from effdet.data.rle import points, runs
from effdet.files.scalars import whole


@dataclass(frozen=True, eq=False)
class ObjectMasks:
    """M masks, one after another."""

    packed: np.ndarray
    """(R,) uint8: COCO's compressed run lengths."""
    starts: np.ndarray
    """(M + 1,) int64."""

    def read(self, row: int, size: tuple[int, int]) -> np.ndarray:
        """(h, w) bool mask of that row, of an image of `size`."""
        from pycocotools import mask as coco_mask

        counts = self.packed[self.starts[row] : self.starts[row + 1]].tobytes()
        return coco_mask.decode({"size": list(size), "counts": counts}).astype(np.bool_)  # type: ignore[arg-type]


def read_object_masks(path: Path, table: RecordTable) -> tuple[ObjectMasks, np.ndarray]:
    """The masks of a COCO file.

    Args:
        path: the annotation file.
        table: its records; `segments` says where each box stands in the list of annotations.

    Returns:
        The masks, and (N,) int64 the row of each box in them, -1 where an annotation has none that is valid.
    """
    assert table.segments is not None
    annotations = load_json(path)["annotations"]
    owner = np.repeat(np.arange(len(table)), np.diff(table.starts))
    found: list[bytes] = []
    rows = np.full(len(owner), -1, np.int64)
    for row, (place, image) in enumerate(zip(table.segments.tolist(), owner.tolist(), strict=True)):
        height, width = table.sizes[image].tolist()
        counts = packed_runs(annotations[place].get("segmentation"), (height, width))
        if counts is not None:
            rows[row] = len(found)
            found.append(counts)
    starts = np.cumsum([0, *map(len, found)]).astype(np.int64)
    return ObjectMasks(np.frombuffer(b"".join(found), np.uint8), starts), rows


def packed_runs(segmentation: Any, size: tuple[int, int]) -> bytes | None:
    """Polygons or a run-length mask -> compressed run lengths on an image of `size` (height, width); None where there is no
    mask, it is malformed, of another size, or empty."""
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, dict):
        stated, counts = segmentation.get("size"), runs(segmentation.get("counts"))
        sides = [whole(side) for side in stated] if isinstance(stated, list) else []
        if counts is None or sides != list(size) or int(counts.sum()) != size[0] * size[1] or not counts[1::2].any():
            return None
        packed: Any = coco_mask.frPyObjects({"size": list(size), "counts": counts.tolist()}, *size)  # type: ignore[call-overload]
        return packed["counts"]
    polygons = points(segmentation)
    if polygons is None:
        return None
    merged: Any = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))  # type: ignore[call-overload]
    return merged["counts"] if coco_mask.area(merged) > 0 else None
