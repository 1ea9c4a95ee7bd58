"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from effdet.evaluation import ClassJoin, EvalBatch, SemanticEvaluator
from effdet.model.spec import HeadSpec
from effdet.report.maps import MapReport
from effdet.tasks.kit import FirstLoss, Kit
from heads.semantic import SemanticHead
from heads.semantic_losses import balanced_weights
from heads.structures import ClassTable, Targets, UserError

if TYPE_CHECKING:
    from effdet.data import Source


class SemanticKit(Kit):
    """A segmentation map for each image."""

    label = "semantic"
    metric = "mIoU"

    def classes(self, source: Source) -> ClassTable:
        return source.semantic_classes or source.classes

    def complete(self, spec: HeadSpec, source: Source) -> HeadSpec:
        """Numbers where the loss names a rule by which the data's classes are weighed."""
        rule = spec.options.get("loss", {}).get("class_weights")
        if not isinstance(rule, str):
            return spec
        if (pixels := source.records.class_pixels) is None:
            raise UserError(
                f"loss.class_weights={rule}: data={source.name} has no masks to count; give a list of numbers"
            )
        weights = balanced_weights(pixels.sum(0).tolist(), rule)
        loss = {**spec.options["loss"], "class_weights": [round(weight, 4) for weight in weights]}
        return replace(spec, options={**spec.options, "loss": loss})

    def evaluator(self, source: Source, classes: ClassJoin, *, backend: str = "pycocotools") -> SemanticEvaluator:
        return SemanticEvaluator(classes)

    def truth(self, batch: EvalBatch) -> list[np.ndarray]:
        """Each image's mask as it is, one pixel where it has none."""
        return [np.zeros((1, 1), np.uint8) if mask is None else mask for mask in batch.masks]

    def report(self, evaluator: SemanticEvaluator) -> MapReport:
        return MapReport(evaluator, self.name)

    def first_loss(self, head: Any, output: Any, targets: Targets) -> FirstLoss | None:
        """Cross-entropy of guessing.

        It is ln K at every pixel. Label smoothing spreads a share e over all classes by their weights, and the mean over
        pixels divides by the weights of their own classes: ``ln K ((1 - e) + e mean(w) n / sum_i w_i)``.
        """
        if not isinstance(head, SemanticHead):
            return None
        settings, labels, classes = head.loss_settings, targets.semantic, head.num_classes
        if labels is None or not settings.cross_entropy or classes < 2:
            return None
        own = labels[labels != 255].long()
        if settings.class_weights is None:
            total, mean = float(len(own)), 1.0
        else:
            weights = torch.tensor(settings.class_weights, device=labels.device)
            total, mean = float(weights[own].sum()), float(weights.mean())
            if settings.ohem is not None and settings.label_smoothing:
                return None  # the mean is over pixels of unlike expected losses, chosen by the loss itself
        if not len(own) or total <= 0:
            return None
        smoothing = settings.label_smoothing
        share = (1 - smoothing) + smoothing * mean * len(own) / total
        causes = (
            "the last layer does not start near zero. A head of your own starts there by "
            "heads.prior.start_at_prior(layer, 'semantic')"
        )
        value = settings.cross_entropy * math.log(classes) * share
        return FirstLoss("cross_entropy", value, f"guessing among {classes} classes gives", causes)
