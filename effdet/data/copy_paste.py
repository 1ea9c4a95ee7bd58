"""Copy-paste of objects by their masks (Ghiasi et al. 2021): which are drawn, and what they leave of the boxes below.

As in the paper, the donor is laid on the canvas under its own random scale, and a random subset of its objects is pasted where
they fall. The first of them is drawn by class, each class of those allowed being as likely as the others, so that rare classes
gain the most; if the donor is cropped, the crop is laid around it. No edge is blended: the paper found no use in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from effdet.data.checks import DataError
from effdet.data.records import Dataset
from effdet.data.sampling import UNEVEN, class_images


@dataclass(frozen=True)
class Donor:
    """An image, and the objects of it that are pasted."""

    index: int
    rows: np.ndarray
    """(N,) int64 positions of their boxes in the record."""
    centre: tuple[float, float]
    """(y, x) of the drawn object, original pixels."""


class Donors:
    """Draws donors from a set.

    Args:
        source: the set.
        classes: names of those that are pasted; "rare" for those on fewer images than a third of the mean; None for all.

    Raises:
        DataError: the set has no masks of objects, or none of these classes.
    """

    def __init__(self, source: Dataset, classes: Sequence[str] | Literal["rare"] | None) -> None:
        table, masked = source.records, source.masked_objects()
        if masked is None or not masked.any():
            what = "no annotation has a mask" if masked is not None else "the set is read without masks of objects"
            raise DataError(
                f"augment.copy_paste: data={source.name}: {what}. Pasting takes COCO JSON with polygons or run-length masks, "
                "or instance maps in Cityscapes' form with boxes; else set it to 0"
            )
        chosen = _chosen(source, classes)
        usable = masked & ~table.crowd & np.isin(table.labels, chosen)
        self.owner = np.repeat(np.arange(len(table)), np.diff(table.starts))
        self.starts, self.bbox, self.usable = table.starts, table.bbox, usable
        self.by_class = [rows for label in chosen if len(rows := np.flatnonzero(usable & (table.labels == label)))]
        if not self.by_class:
            raise DataError(
                f"augment.copy_paste_classes={classes}: no object of these classes in train of data={source.name} has a mask"
            )

    def __call__(self, rng: np.random.Generator) -> Donor:
        rows = self.by_class[int(rng.integers(len(self.by_class)))]
        drawn = int(rows[rng.integers(len(rows))])
        index = int(self.owner[drawn])
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        pasted = self.usable[start:end] & (rng.random(end - start) < 0.5)
        pasted[drawn - start] = True
        x, y, width, height = self.bbox[drawn].tolist()
        return Donor(index, np.flatnonzero(pasted), (y + height / 2, x + width / 2))


def _chosen(source: Dataset, classes: Sequence[str] | Literal["rare"] | None) -> list[int]:
    """The labels of the classes."""
    names = [str(name) for name in source.classes.names]
    if classes is None:
        return list(range(len(names)))
    if classes == "rare":
        images = class_images(source.records, len(names))
        rare = np.flatnonzero((images > 0) & (images < UNEVEN * images[images > 0].mean())) if images.any() else []
        if len(rare) == 0:
            raise DataError(
                f"augment.copy_paste_classes=rare: no class of data={source.name} is on fewer images than a third of the mean; "
                "name classes, or set it to null"
            )
        return [int(label) for label in rare]
    unknown = [str(name) for name in classes if str(name) not in names]
    if unknown or not classes:
        raise DataError(
            f"augment.copy_paste_classes={list(classes)}: {', '.join(unknown) or 'nothing'} is no class of data={source.name}, "
            f"which has {', '.join(names)}"
        )
    return [names.index(str(name)) for name in classes]


def uncovered(boxes: np.ndarray, over: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of boxes below pixels that were pasted over them.

    Args:
        boxes: (N, 4) float32 xyxy, input pixels.
        over: (H, W) bool: the pixels.

    Returns:
        The boxes without the rows and columns at their edges that are covered from end to end, and (N,) float64 the share of
        each box's pixels that is not covered.
    """
    left_over, visible = boxes.copy(), np.ones(len(boxes))
    for row, box in enumerate(boxes.tolist()):
        left, top = int(np.floor(box[0])), int(np.floor(box[1]))
        free = ~over[top : int(np.ceil(box[3])), left : int(np.ceil(box[2]))]
        if free.all():
            continue
        visible[row] = free.mean()
        if not free.any():
            continue
        for axis, begin in ((0, left), (1, top)):
            line = np.flatnonzero(free.any(axis=axis))
            if line[0] > 0:
                left_over[row, axis] = begin + line[0]
            if line[-1] < free.shape[1 - axis] - 1:
                left_over[row, axis + 2] = begin + line[-1] + 1
    return left_over, visible
