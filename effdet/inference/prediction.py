"""What a model says about one image, in that image's own pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from PIL import Image

from effdet.drawing import draw as draw_image
from effdet.drawing.colours import spread
from effdet.evaluation.evaluators import coco_results
from effdet.tasks import Kit, class_name, kit_for, table_giving
from heads.structures import ClassTable, UserError

SEMANTIC = "semantic"
"""The head that :attr:`Prediction.semantic` shows."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answers of a model's heads for one image. A head that the model lacks leaves its fields empty or None."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB: the image, after its EXIF rotation."""
    boxes: np.ndarray
    """(N, 4) float32 xyxy in pixels of `image`, sorted by falling score."""
    scores: np.ndarray
    """(N,) float32 in 0…1."""
    labels: np.ndarray
    """(N,) int64 index into the detection head's classes."""
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By head: (H, W) uint8 class of each pixel."""
    probabilities: np.ndarray | None = None
    """(K,) float32 of the image's classes."""
    embedding: np.ndarray | None = None
    """(D,) float32 of length 1: the cosine of two images is the dot product of theirs."""
    classes: Mapping[str, ClassTable] = field(default_factory=dict)
    """Class tables by head."""
    path: str | None = None
    """Where the image came from, if from a file."""
    tracks: np.ndarray | None = None
    """(N,) int64 number of the object that each box follows through a video, -1 for none; None where nothing tracks."""
    kits: Mapping[str, Kit] = field(default_factory=dict)
    """By head, what is known of its kind; for heads that are not named here, that of the built-in kind of this name."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What a user-defined kit gives (`effdet.tasks.Kit.fields`), by the names that it gives it."""

    def with_fields(self, values: Mapping[str, Any]) -> Self:
        """The same prediction with fields of `values`; ``maps`` are added, and names that are no field go to ``extra``."""
        own = {name: value for name, value in values.items() if name in self.__dataclass_fields__}
        extra = {name: value for name, value in values.items() if name not in own}
        maps = {**self.maps, **own.pop("maps", {})}
        return replace(self, **own, maps=maps, extra={**self.extra, **extra})

    @property
    def semantic(self) -> np.ndarray | None:
        """(H, W) uint8 class of each pixel, of the head called ``semantic``: ``maps["semantic"]``."""
        return self.maps.get(SEMANTIC)

    def table(self, name: str) -> ClassTable | None:
        """The classes of the first head that gives the field `name`."""
        return table_giving(name, self.all_kits(), self.classes)

    def all_kits(self) -> dict[str, Kit]:
        """The kit of every head, in the model's order."""
        return {head: self.kits[head] if head in self.kits else kit_for(head) for head in self.classes}

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The class name of each box."""
        table = self.table("boxes")
        return [class_name(table, int(label)) for label in self.labels]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image.shape[0], self.image.shape[1]

    def above(self, score_threshold: float) -> Self:
        """The same prediction with the boxes of at least this score."""
        return self.rows(self.scores >= score_threshold)

    def rows(self, keep: np.ndarray) -> Self:
        """The same prediction with the boxes that `keep`, a mask or indices, names."""
        tracks = None if self.tracks is None else self.tracks[keep]
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep], tracks=tracks)

    def tracked(self, tracks: np.ndarray) -> Self:
        """The same prediction with the boxes that belong to a track, numbered by `tracks` (N,), -1 for none."""
        return replace(self, tracks=tracks).rows(tracks >= 0)

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes of the whole image, with their probabilities."""
        if self.probabilities is None:
            raise UserError("this model does not classify whole images: it has no classification head")
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        table = self.table("probabilities")
        return [(class_name(table, int(index)), float(self.probabilities[index])) for index in order]

    def draw(self, *, score_threshold: float = 0.3, alpha: float = 0.5, legend: bool = False) -> Image.Image:
        """The image with its boxes, segmentation map and class drawn on it.

        Args:
            score_threshold: boxes under it are not drawn. Boxes with a track have that track's colour and number, and no score.
            alpha: 0…1, cover of the segmentation map.
            legend: add a strip with the class colours below.
        """
        shown = self.above(score_threshold)
        arguments = {"boxes": shown.boxes, "labels": shown.labels, "scores": shown.scores, "names": ()}
        for kit in reversed(shown.all_kits().values()):  # of two heads that draw the same, the first is shown
            arguments |= kit.drawing(shown)
        if shown.tracks is not None:
            # An object keeps its colour, and its number tells it from others of its class.
            names = tuple(f"{name} {track}" for name, track in zip(shown.names, shown.tracks, strict=True))
            arguments |= {"labels": np.arange(len(shown)), "scores": None, "names": names}
            arguments["palette"] = [spread(int(track)) for track in shown.tracks]
        image = draw_image(self.image, **arguments, alpha=alpha, legend=legend)
        for kit in shown.all_kits().values():
            image = kit.paint(image, shown)
        return image

    def crop(self, index: int, *, margin: float = 0.0) -> Image.Image:
        """The part of the image under box `index`, at least one pixel.

        Args:
            index: row of `boxes`; negative ones count from the end.
            margin: room added on each side, as a share of the box's width and height.
        """
        if not -len(self) <= index < len(self):
            raise UserError(f"there is no box {index}: the image has {len(self)}")
        x1, y1, x2, y2 = self.boxes[index].tolist()
        room_x, room_y = margin * (x2 - x1), margin * (y2 - y1)
        height, width = self.size
        left, top = min(max(int(x1 - room_x), 0), width - 1), min(max(int(y1 - room_y), 0), height - 1)
        right = max(min(math.ceil(x2 + room_x), width), left + 1)
        bottom = max(min(math.ceil(y2 + room_y), height), top + 1)
        return Image.fromarray(self.image[top:bottom, left:right])

    def semantic_ids(self) -> np.ndarray:
        """(H, W) uint8 segmentation map with the ids of the classes' owner (Cityscapes' labelIds); 255 where there is no
        class."""
        if self.semantic is None:
            raise UserError("this model finds no segmentation maps: it has no semantic head")
        table = self.classes.get(SEMANTIC)
        own = range(255) if table is None else table.ids
        ids = [index if value is None else value for index, value in enumerate(own)]
        if min(ids) < 0 or max(ids) > 255:
            raise UserError(
                f"segmentation maps have 8 bits a pixel, and the classes' ids go from {min(ids)} to {max(ids)}"
            )
        lookup = np.full(256, 255, np.uint8)
        lookup[: len(ids)] = ids
        return lookup[self.semantic]

    def to_coco(self, image_id: Any) -> list[dict[str, Any]]:
        """COCO results with the category ids of the classes' owner (``ClassTable.ids``), and `track_id` where tracked."""
        table = self.table("boxes")
        ids = [] if table is None else [index if own is None else own for index, own in enumerate(table.ids)]
        results = coco_results(image_id, self.boxes, self.scores, np.array(ids, np.int64)[self.labels])
        if self.tracks is None:
            return results
        return [{**row, "track_id": track} for row, track in zip(results, self.tracks.tolist(), strict=True)]

    def to_supervision(self) -> Any:
        """A ``supervision.Detections`` of the boxes: xyxy, confidence, class id and name, track.

        Raises:
            UserError: the library is not installed.
        """
        try:
            from supervision import Detections
        except ImportError:
            raise UserError("to_supervision needs the library: pip install 'effdet-lightning[supervision]'") from None
        return Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=self.tracks,
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def to_dict(self) -> dict[str, Any]:
        """All that was found, in what JSON can hold; a segmentation map as each class's share of the pixels."""
        found: dict[str, Any] = {"path": self.path, "height": self.size[0], "width": self.size[1]}
        for kit in self.all_kits().values():
            found |= kit.to_dict(self)
        return found
