"""Do the anchors reach the boxes? By the matcher that training uses, image by image, at the chosen input size.

A box is *fitted* if one of the anchors that the matcher gives it overlaps it by the threshold at least; *forced* if it has
only the anchor that the paper's rule gives every box, however badly it fits; *lost* if all anchors that it could have had
went to others. (ATSS has a threshold of its own for each box, and forces none: there a box is fitted or lost. TAL follows
the predictions; without a model it can only be said whether any anchor's centre lies in the box.)

For what *would* fit there is a short way: of anchors of one shape the one whose centre is nearest to the box's overlaps it
most, so a box's best overlap is that of 9 anchors a level, not of tens of thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from effdet.boxes import area, iou, over_union, shared_area
from effdet.preprocess import Preprocess
from heads.detection.anchors import AnchorSpec

FITTED, FORCED, LOST = 0, 1, 2
STATES = ("fitted", "forced", "lost")


@dataclass(frozen=True)
class CoverageSettings:
    """The part of a detector that decides which anchor learns which box."""

    preprocess: Preprocess
    """Lays images on the input canvas."""
    levels: tuple[int, ...] = (3, 4, 5, 6, 7)
    """Pyramid levels; level l has stride 2**l."""
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    matcher: str = "iou"
    threshold: float = 0.5

    @property
    def cells(self) -> list[tuple[int, int]]:
        """(height, width) of each level's grid. Convolutions of stride 2 round up, level by level."""
        height, width = self.preprocess.size
        return [(-(-height // 2**level), -(-width // 2**level)) for level in self.levels]

    @property
    def title(self) -> str:
        """How reports call it."""
        height, width = self.preprocess.size
        rule = f"iou ≥ {self.threshold:g}" if self.matcher == "iou" else self.matcher
        scale = self.anchors.scale
        return f"{height}×{width} input, anchor scale {scale if isinstance(scale, tuple) else f'{scale:g}'}, matcher {rule}"


@dataclass(frozen=True, eq=False)
class Matched:
    """The boxes of one image, or of many in a row."""

    state: np.ndarray
    """(N,) int8 of FITTED, FORCED, LOST."""
    level: np.ndarray
    """(N,) int8 position of the level of its best anchor, -1 where it is lost."""
    positives: np.ndarray
    """(N,) int32 anchors that learn it."""

    @classmethod
    def none(cls) -> Matched:
        return cls(np.zeros(0, np.int8), np.zeros(0, np.int8), np.zeros(0, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Matched]) -> Matched:
        """All `parts` in a row."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in (cls.none(), *parts)]) for name in vars(cls.none()))
        )


def match_boxes(boxes: np.ndarray, size: tuple[int, int], settings: CoverageSettings) -> Matched:
    """Which of an image's boxes get anchors, by the real matcher.

    Args:
        boxes: (N, 4) float32 xyxy, original pixels.
        size: (height, width) of the image.
    """
    if len(boxes) == 0:
        return Matched.none()
    canvas = settings.preprocess.place(*size).geometry.to_canvas(boxes)
    if settings.matcher == "tal":
        return _by_centre(canvas, settings)
    import torch

    from heads.detection.anchors import anchors
    from heads.detection.atss import match_atss
    from heads.detection.matcher import match_iou

    grid = anchors(settings.cells, settings.preprocess.size, settings.anchors)
    batch, labels = torch.from_numpy(canvas)[None], torch.zeros((1, len(canvas)), dtype=torch.int64)
    counts = [height * width for height, width in settings.cells]
    if settings.matcher == "atss":
        owners = match_atss(grid, batch, labels, cells=counts, per_cell=settings.anchors.per_cell)[0]
    else:
        owners = match_iou(grid, batch, labels, threshold=settings.threshold)[0]
    places = torch.nonzero(owners >= 0)[:, 0].numpy()
    owner = owners.numpy()[places]
    overlap = iou(grid.numpy()[places], canvas[owner])
    best = np.zeros(len(canvas))
    np.maximum.at(best, owner, overlap)
    level = np.full(len(canvas), -1, np.int8)
    ends = np.cumsum(counts) * settings.anchors.per_cell
    top = overlap >= best[owner]
    level[owner[top]] = np.searchsorted(ends, places[top], side="right")
    positives = np.bincount(owner, minlength=len(canvas)).astype(np.int32)
    fits = positives > 0 if settings.matcher == "atss" else best >= settings.threshold
    state = np.where(positives == 0, LOST, np.where(fits, FITTED, FORCED)).astype(np.int8)
    return Matched(state, level, positives)


def best_overlaps(boxes: np.ndarray, settings: CoverageSettings) -> tuple[np.ndarray, np.ndarray]:
    """The highest overlap of each box with any anchor, and on which level.

    Args:
        boxes: (N, 4) float32 xyxy, pixels of the input canvas.

    Returns:
        (N,) float64 IoU and (N,) int64 position of the level.
    """
    boxes = boxes.astype(np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    areas = area(boxes)
    image = settings.preprocess.size
    best, where = np.full(len(boxes), -1.0), np.zeros(len(boxes), np.int64)
    spec = settings.anchors
    for position, (rows, columns) in enumerate(settings.cells):
        stride = np.array([image[1] / columns, image[0] / rows])
        cell = np.clip(np.floor(centre / stride), 0, np.array([columns, rows]) - 1)
        middle = (cell + 0.5) * stride
        scale = spec.scale_of(position, len(settings.levels))
        for octave in range(spec.scales_per_octave):
            for factor in spec.factors:
                shape = scale * stride * 2 ** (octave / spec.scales_per_octave) * np.array(factor)
                anchor = np.concatenate([middle - shape / 2, middle + shape / 2], axis=1)
                overlap = over_union(shared_area(boxes, anchor), areas, shape.prod())
                better = overlap > best
                best, where = np.where(better, overlap, best), np.where(better, position, where)
    return best, where


def with_size(settings: CoverageSettings, factor: float) -> CoverageSettings:
    """`settings` with a canvas `factor` times as large, in multiples of 128 pixels (or of 32, where it is smaller)."""
    unit = 128 if min(settings.preprocess.size) >= 256 else 32
    size = tuple(max(unit, round(side * factor / unit) * unit) for side in settings.preprocess.size)
    return replace(settings, preprocess=settings.preprocess.fitted((size[0], size[1])))


def _by_centre(canvas: np.ndarray, settings: CoverageSettings) -> Matched:
    """TAL: candidates are the anchors whose centre lies in the box; the finest level has the most centres."""
    rows, columns = settings.cells[0]
    stride = np.array([settings.preprocess.size[1] / columns, settings.preprocess.size[0] / rows])
    first = np.floor(canvas[:, :2] / stride - 0.5) + 1
    last = np.ceil(canvas[:, 2:] / stride - 0.5) - 1
    limit = np.array([columns, rows]) - 1
    count = np.clip(np.minimum(last, limit) - np.maximum(first, 0) + 1, 0, None).prod(axis=1)
    state = np.where(count > 0, FITTED, LOST).astype(np.int8)
    level = np.where(count > 0, 0, -1).astype(np.int8)
    return Matched(state, level, (count * settings.anchors.per_cell).astype(np.int32))
