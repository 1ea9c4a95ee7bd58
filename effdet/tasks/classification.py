"""Classification of whole images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from effdet.evaluation import ClassificationEvaluator, ClassJoin
from effdet.report.categories import CategoryReport
from effdet.tasks.kit import FirstLoss, Kit, Target, class_name
from heads.classification import ClassificationHead
from heads.pooled import known
from heads.structures import ClassTable, Targets

if TYPE_CHECKING:
    from effdet.data import Dataset
    from effdet.inference import Prediction


class ClassificationKit(Kit):
    """A class for each image."""

    head = ClassificationHead
    label = "category"
    metric = "top1"
    gives = ("probabilities",)

    def evaluator(
        self, source: Dataset, classes: ClassJoin, *, backend: str = "pycocotools"
    ) -> ClassificationEvaluator:
        return ClassificationEvaluator(classes)

    def report(self, evaluator: ClassificationEvaluator) -> CategoryReport:
        return CategoryReport(evaluator)

    def first_loss(self, head: Any, output: Any, targets: Targets) -> FirstLoss | None:
        """Cross-entropy of guessing: ln K, for mixed and smoothed labels too, since these sum to 1."""
        if not isinstance(head, ClassificationHead):
            return None
        category, classes = targets.category, head.num_classes
        if category is None or classes < 2 or not known(category).any():
            return None
        causes = (
            "the last layer does not start near zero. Your own head starts there by heads.prior.start_at_prior(layer)"
        )
        return FirstLoss("class", math.log(classes), f"guessing among {classes} classes gives", causes)

    def fields(self, predicted: Tensor, row: int) -> dict[str, Any]:
        return {"probabilities": predicted[row].float().cpu().numpy()}

    def to_dict(self, prediction: Prediction) -> dict[str, Any]:
        if prediction.probabilities is None:
            return {}
        return {"classes": [{"name": name, "probability": value} for name, value in prediction.top()]}

    def schema(self) -> dict[str, Any]:
        return {"classes": {"type": "array", "items": {"type": "object"}, "description": "Of the whole image."}}

    def drawing(self, prediction: Prediction) -> dict[str, Any]:
        """The class is written on a frame around the image, unless a detection head has boxes to draw."""
        if prediction.probabilities is None or prediction.table("boxes"):
            return {}
        best = int(prediction.probabilities.argmax())
        return {
            "boxes": np.array([[0, 0, prediction.size[1], prediction.size[0]]]),
            "labels": np.array([best]),
            "scores": prediction.probabilities[[best]],
            "names": prediction.classes[self.name].names,
        }

    def canvas_drawing(
        self, predicted: Tensor, classes: ClassTable, size: tuple[int, int], *, score: float
    ) -> dict[str, Any]:
        return {"captions": class_captions(predicted, classes)}

    def explained(
        self, head: Any, output: Tensor, classes: ClassTable, *, most: int, score: float
    ) -> list[Target] | None:
        """The likeliest classes, each by its logit."""
        sure, labels = output[0].detach().float().softmax(0).sort(descending=True)
        pairs = zip(sure[:most].tolist(), labels[:most].tolist(), strict=True)
        return [Target(class_name(classes, label), share, _logit(self.name, label)) for share, label in pairs]

    def graph_outputs(self, head: Any, *, nms: bool) -> tuple[str, ...] | None:
        return (self.name,) if isinstance(head, ClassificationHead) else None


def _logit(name: str, label: int) -> Callable[[Mapping[str, Any]], Tensor]:
    return lambda outputs: outputs[name][0, label]


def class_captions(weights: Tensor, classes: ClassTable | None) -> list[str]:
    """(B, K) -> the heaviest class of each image and its weight."""
    shares, labels = weights.float().cpu().max(dim=1)
    pairs = zip(shares.tolist(), labels.tolist(), strict=True)
    return [f"{class_name(classes, label)} {share:.2f}" for share, label in pairs]
