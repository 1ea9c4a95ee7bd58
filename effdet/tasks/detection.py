"""Detection: boxes with a class and a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from effdet.evaluation import ClassJoin, DetectionEvaluator, EvalBatch
from effdet.report.boxes import BoxReport
from effdet.tasks.kit import FirstLoss, Kit
from heads.detection import DetectionHead
from heads.detection.focal import focal_loss
from heads.prior import PRIOR
from heads.structures import Detections, Targets

if TYPE_CHECKING:
    from effdet.data import Source


class DetectionKit(Kit):
    """Boxes for each image."""

    label = "boxes"
    metric = "AP"
    postprocess_keys = ("score", "nms_iou", "max_detections")

    def evaluator(self, source: Source, classes: ClassJoin, *, backend: str = "pycocotools") -> DetectionEvaluator:
        return DetectionEvaluator(source.coco(), classes, backend=backend)

    def truth(self, batch: EvalBatch) -> Detections:
        """Each image's boxes that count (no crowds), with the score 1."""
        kept = [~np.asarray(record.crowd, bool) for record in batch.records]
        counts = torch.tensor([int(keep.sum()) for keep in kept])
        longest = int(counts.max()) if len(counts) else 0
        boxes, labels = torch.zeros(len(batch), longest, 4), torch.full((len(batch), longest), -1)
        for row, (record, keep) in enumerate(zip(batch.records, kept, strict=True)):
            count = int(keep.sum())
            boxes[row, :count] = torch.from_numpy(np.asarray(record.boxes)[keep])
            labels[row, :count] = torch.from_numpy(np.asarray(record.labels)[keep])
        return Detections(boxes, (labels >= 0).float(), labels, counts)

    def has_truth(self, source: Source) -> bool:
        return len(source.records.labels) > 0

    def report(self, evaluator: DetectionEvaluator) -> BoxReport:
        return BoxReport(evaluator)

    def first_loss(self, head: Any, output: Any, targets: Targets) -> FirstLoss | None:
        """Class loss of a head whose every entry has the prior's probability: the focal loss written out.

        None where no image of the batch is labelled with boxes.
        """
        if not isinstance(head, DetectionHead):
            return None
        labels, labelled = _labels(output, targets)
        if labels is None or not labelled.any():
            return None
        assert targets.boxes is not None
        positives = int((head.match(output, targets.boxes.float(), labels) >= 0).sum())
        entries = int(labelled.sum()) * output.class_logits[0].numel()
        settings = head.loss_settings
        divisor = positives + 1 if settings.normaliser == "paper" else max(positives, 1)
        return FirstLoss(
            "class",
            settings.class_weight * _prior_sum(settings, entries, positives) / divisor,
            "the focal prior predicts",
            "the last class layer does not start at its prior, or labels lie outside the classes. A head of your own starts "
            "there by heads.prior.start_at_prior(layer, 'detection'); weights=FILE loads a head that is trained",
        )

    def new_rows(self, head: Any, output: Any, targets: Targets, rows: Sequence[int]) -> tuple[float, float] | None:
        """None where no image of the batch is labelled with boxes."""
        if not isinstance(head, DetectionHead):
            return None
        labels, labelled = _labels(output, targets)
        if labels is None or not labelled.any():
            return None
        assert targets.boxes is not None
        matches = head.match(output, targets.boxes.float(), labels)  # (B, A)
        if labels.shape[1]:
            matched = torch.where(matches >= 0, labels.gather(1, matches.clamp(min=0)), -1)
        else:
            matched = matches
        index = torch.full((head.num_classes + 1,), -1, device=labels.device)
        index[list(rows)] = torch.arange(len(rows), device=labels.device)
        own = index[matched]  # (B, A): -1 picks the last place, which is -1
        settings = head.loss_settings
        found = focal_loss(
            output.class_logits[..., list(rows)].contiguous(),
            own,
            alpha=settings.alpha,
            gamma=settings.gamma,
            label_smoothing=settings.label_smoothing,
            weight=labelled.float(),
        )
        entries = int(labelled.sum()) * own.shape[1] * len(rows)
        return float(found.detach()), _prior_sum(settings, entries, int((own >= 0).sum()))


def _labels(output: Any, targets: Targets) -> tuple[Tensor | None, Tensor]:
    """(B, M) labels, -1 for images that are not labelled with boxes, and (B,) bool: which are."""
    batch, device = len(output.class_logits), output.class_logits.device
    if targets.boxes is None or targets.labels is None:
        return None, torch.zeros(batch, dtype=torch.bool, device=device)
    labelled = torch.ones(batch, dtype=torch.bool, device=device) if targets.has_boxes is None else targets.has_boxes
    return torch.where(labelled[:, None], targets.labels, -1), labelled


def _prior_sum(settings: Any, entries: int, positives: int) -> float:
    """Focal loss of `entries`, `positives` of which should fire, where all have the probability :data:`PRIOR`."""
    logit = torch.tensor(math.log(PRIOR / (1 - PRIOR)), dtype=torch.float64)

    def entry(x: Tensor) -> float:
        """Of an entry that should not fire; one that should has it at -x (label smoothing e moves its target by e / 2)."""
        return float(x.sigmoid() ** settings.gamma * (F.softplus(x) - settings.label_smoothing / 2 * x))

    return (entries - positives) * (1 - settings.alpha) * entry(logit) + positives * settings.alpha * entry(-logit)
