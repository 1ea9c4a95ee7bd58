"""What a model says about one picture, in that picture's own pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from PIL import Image

from effdet.drawing import draw as draw_picture
from effdet.evaluation.evaluators import coco_results
from heads.structures import ClassTable, UserError


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answers of a model's heads for one picture. A head that the model lacks leaves its fields empty or None."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB: the picture, after its EXIF rotation."""
    boxes: np.ndarray
    """(N, 4) float32 xyxy in pixels of `image`, sorted by falling score."""
    scores: np.ndarray
    """(N,) float32 in 0…1."""
    labels: np.ndarray
    """(N,) int64 index into the detection head's classes."""
    semantic: np.ndarray | None = None
    """(H, W) uint8 class of each pixel."""
    probabilities: np.ndarray | None = None
    """(K,) float32 of the picture's classes."""
    classes: Mapping[str, ClassTable] = field(default_factory=dict)
    """Class tables by head."""
    path: str | None = None
    """Where the picture came from, if from a file."""

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The class name of each box."""
        return [self._name("detection", int(label)) for label in self.labels]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        return self.image.shape[0], self.image.shape[1]

    def above(self, score: float) -> Self:
        """The same prediction with the boxes of at least this score."""
        keep = self.scores >= score
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep])

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes of the whole picture, with their probabilities."""
        if self.probabilities is None:
            raise UserError("this model does not classify whole pictures: it has no classification head")
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self._name("classification", int(index)), float(self.probabilities[index])) for index in order]

    def draw(self, *, score: float = 0.3, alpha: float = 0.5, legend: bool = False) -> Image.Image:
        """The picture with its boxes, class map and class drawn on it.

        Args:
            score: boxes under it are not drawn.
            alpha: 0…1, cover of the class map.
            legend: add a strip with the class colours below.
        """
        shown = self.above(score)
        boxes, labels, scores = shown.boxes, shown.labels, shown.scores
        names = self._names("detection")
        if self.probabilities is not None and not len(names):
            # A picture's class is written on a frame round all of it.
            best = int(self.probabilities.argmax())
            names, labels, scores = self._names("classification"), np.array([best]), self.probabilities[[best]]
            boxes = np.array([[0, 0, self.size[1], self.size[0]]])
        return draw_picture(
            self.image,
            boxes,
            labels,
            scores,
            names,
            semantic=self.semantic,
            semantic_names=self._names("semantic"),
            alpha=alpha,
            legend=legend,
        )

    def to_coco(self, image_id: Any) -> list[dict[str, Any]]:
        """COCO results with the category ids of the classes' owner (``ClassTable.ids``)."""
        table = self.classes.get("detection")
        ids = [] if table is None else [index if own is None else own for index, own in enumerate(table.ids)]
        return coco_results(image_id, self.boxes, self.scores, np.array(ids, np.int64)[self.labels])

    def to_dict(self) -> dict[str, Any]:
        """All that was found, in what JSON can hold; a class map as each class's share of the pixels."""
        rows = zip(self.names, self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        found: dict[str, Any] = {"path": self.path, "height": self.size[0], "width": self.size[1]}
        if "detection" in self.classes:
            found["boxes"] = [
                {"name": name, "label": label, "score": score, "box": box} for name, label, score, box in rows
            ]
        if self.semantic is not None:
            values, counts = np.unique(self.semantic[self.semantic != 255], return_counts=True)
            found["semantic"] = {
                self._name("semantic", int(value)): count / self.semantic.size
                for value, count in zip(values, counts.tolist(), strict=True)
            }
        if self.probabilities is not None:
            found["classes"] = [{"name": name, "probability": value} for name, value in self.top()]
        return found

    def _names(self, head: str) -> tuple[str | None, ...]:
        return self.classes[head].names if head in self.classes else ()

    def _name(self, head: str, label: int) -> str:
        names = self._names(head)
        name = names[label] if label < len(names) else None
        return str(label) if name is None else name
