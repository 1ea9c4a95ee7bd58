"""Small objects in large images: the model looks at overlapping tiles and at the whole, and the finds are merged.

After Akyon et al. 2022, "Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection". A tile of the network's
own size is seen unreduced. It costs one pass a tile, and finds that were right on the whole image can get worse: measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from effdet.boxes import area, shared_area
from effdet.inference.image import ImageLike, as_array
from effdet.inference.prediction import Prediction
from effdet.inference.predictor import Predictor
from heads.structures import UserError

_AT_EDGE = 2.0
"""Pixels: a box that comes this near to a tile's inner edge is taken for a part of something larger."""
_HELD = 0.5
"""A part goes where a kept box holds more than this share of the part's own area: most of it."""


@dataclass(frozen=True)
class TileSettings:
    """How an image is cut."""

    size: int | None = None
    """Pixels of a tile's side; None takes the network's input size."""
    overlap: float = 0.2
    """Share of a tile that its neighbour sees too: things up to that size are whole in one of them."""
    nms_iou: float = 0.5
    """Of two boxes of a class that overlap by more the better stays."""

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 32:
            raise UserError(f"a tile's size (={self.size}) must be at least 32 pixels")
        if not 0 <= self.overlap <= 0.9:
            raise UserError(f"tiles must overlap by a share of 0…0.9, got {self.overlap:g}")


class TiledPredictor:
    """A `Predictor` that cuts each image into tiles; called in the same ways.

    Segmentation maps and whole-image classes are those of the whole image.

    Args:
        predictor: what predicts a tile.
        settings: see `TileSettings`.
        max_detections: kept of an image, after merging; None keeps what the predictor keeps of an image.
    """

    def __init__(
        self, predictor: Predictor, settings: TileSettings | None = None, *, max_detections: int | None = None
    ) -> None:
        if max_detections is not None and max_detections < 1:
            raise UserError(f"max_detections (={max_detections}) must be 1 or more")
        self.settings = settings or TileSettings()
        self.max_detections = predictor.max_detections if max_detections is None else max_detections
        # A tile's best may be parts that others hold: the cap is for what is left after merging.
        self.predictor = predictor.keeping(self.max_detections)
        size = self.settings.size
        self._tile = predictor.preprocess.size if size is None else (size, size)

    @property
    def batch_size(self) -> int:
        return self.predictor.batch_size

    def __call__(self, images: Any) -> Any:
        """One prediction for one image, a list for a list."""
        if isinstance(images, (list, tuple)):
            return list(self.stream(images))
        return next(self.stream([images]))

    def stream(
        self,
        images: Iterable[ImageLike],
        *,
        unreadable: Callable[[ImageLike, UserError], None] | None = None,
    ) -> Iterator[Prediction]:
        """As `Predictor.stream`. A batch holds tiles of only one image, so that results do not depend on the others."""
        for image in images:
            try:
                pixels = as_array(image)
            except UserError as error:
                if unreadable is None:
                    raise
                unreadable(image, error)
                continue
            frames = tile_frames(pixels.shape[0], pixels.shape[1], self._tile, self.settings.overlap)
            crops = (pixels[y1:y2, x1:x2] for x1, y1, x2, y2 in frames.tolist())
            whole, *parts = self.predictor.stream([pixels, *crops])
            # An image of a single tile has no inner edges: its tile is the whole.
            merged = merge(whole, parts, frames, nms_iou=self.settings.nms_iou) if len(frames) else whole
            path = None if not isinstance(image, str) and not hasattr(image, "__fspath__") else str(image)
            most = len(merged) if self.max_detections is None else min(len(merged), self.max_detections)
            yield replace(merged.rows(np.arange(most)), path=path)


def tile_frames(height: int, width: int, tile: tuple[int, int], overlap: float) -> np.ndarray:
    """(T, 4) int64 xyxy of the tiles that cover an image; none where one tile would hold it all.

    Tiles are of equal size and evenly spread, so that neighbours overlap by `overlap` of a tile or more.
    """
    rows, columns = _starts(height, tile[0], overlap), _starts(width, tile[1], overlap)
    if len(rows) * len(columns) == 1:
        return np.zeros((0, 4), np.int64)
    frames = [
        (x, y, min(x + tile[1], width), min(y + tile[0], height)) for y in rows.tolist() for x in columns.tolist()
    ]
    return np.array(frames, np.int64)


def merge(whole: Prediction, parts: list[Prediction], frames: np.ndarray, *, nms_iou: float) -> Prediction:
    """The boxes of the whole image and of its tiles, each thing once.

    NMS by class. A box cut off by a tile's inner edge is likely a part: it comes last whatever its score, and goes where
    a kept box holds most of *it* (by the share of the part's own area, not by IoU, which is small for a part and its
    whole). Of parts the larger comes first, since it may hold the smaller. What merely lies inside of a part takes nothing
    from it: something small before something large of the same class leaves both.

    Args:
        whole: of the whole image.
        parts: of the tiles, boxes in pixels of their tile.
        frames: (T, 4) xyxy of the tiles in the image.
        nms_iou: overlap from which boxes of a class are the same thing.

    Returns:
        `whole` with all boxes, sorted by falling score.
    """
    height, width = whole.size
    boxes, cut = [whole.boxes], [np.zeros(len(whole), bool)]
    for part, frame in zip(parts, frames.astype(np.float32), strict=True):
        moved = part.boxes + np.tile(frame[:2], 2)
        inner = np.array([frame[0] > 0, frame[1] > 0, frame[2] < width, frame[3] < height])
        boxes.append(moved)
        cut.append((inner & (np.abs(moved - frame) < _AT_EDGE)).any(1))
    every = np.concatenate(boxes)
    scores = np.concatenate([whole.scores, *(part.scores for part in parts)])
    labels = np.concatenate([whole.labels, *(part.labels for part in parts)])
    keep = _suppressed(every, scores, labels, np.concatenate(cut), nms_iou)
    keep = keep[np.argsort(-scores[keep], kind="stable")]
    return replace(whole, boxes=every[keep], scores=scores[keep], labels=labels[keep])


def _suppressed(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, cut: np.ndarray, nms_iou: float
) -> np.ndarray:
    """Indices that stay."""
    boxes = boxes.astype(np.float64)
    areas = area(boxes)
    order = np.lexsort((np.where(cut, -areas, -scores), cut))
    alive, kept = np.ones(len(boxes), bool), []
    for index in order.tolist():
        if not alive[index]:
            continue
        kept.append(index)
        shared = shared_area(boxes[index], boxes)
        same = shared > nms_iou * (areas + areas[index] - shared)
        held = cut & (shared > _HELD * areas)
        alive &= (labels != labels[index]) | ~(same | held)
    return np.array(kept, np.int64)


def _starts(length: int, tile: int, overlap: float) -> np.ndarray:
    """First pixels of the tiles along one side."""
    if length <= tile:
        return np.zeros(1, np.int64)
    count = int(np.ceil((length - tile) / max(1.0, tile * (1 - overlap)) - 1e-9)) + 1
    return np.linspace(0, length - tile, count).round().astype(np.int64)
