"""Classification of whole images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from effdet.evaluation import ClassificationEvaluator, ClassJoin
from effdet.report.categories import CategoryReport
from effdet.tasks.kit import FirstLoss, Kit
from heads.classification import ClassificationHead
from heads.pooled import known
from heads.structures import Targets

if TYPE_CHECKING:
    from effdet.data import Source


class ClassificationKit(Kit):
    """A class for each image."""

    label = "category"
    metric = "top1"

    def evaluator(self, source: Source, classes: ClassJoin, *, backend: str = "pycocotools") -> ClassificationEvaluator:
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
            "the last layer does not start near zero. A head of your own starts there by "
            "heads.prior.start_at_prior(layer, 'classification')"
        )
        return FirstLoss("class", math.log(classes), f"guessing among {classes} classes gives", causes)
