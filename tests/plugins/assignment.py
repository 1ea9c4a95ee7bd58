"""A matcher, a class loss and a box loss that the package does not have, for its detection head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.detection import Assignment, MatchInput
from heads.detection.boxes import aligned_iou, box_iou, encode


class RisingMatcher:
    """An anchor takes its best box from an IoU on that rises with training; its score is the IoU of its prediction.

    Args:
        first, last: thresholds at the start and at the end.
    """

    def __init__(self, first: float = 0.3, last: float = 0.6) -> None:
        self.first, self.last = first, last

    def __call__(self, inputs: MatchInput) -> Assignment:
        batch, count = inputs.labels.shape
        if count == 0:
            index = torch.full((batch, len(inputs.anchors)), -1, device=inputs.anchors.device)
            return Assignment(index, torch.zeros_like(index, dtype=torch.float32))
        iou = box_iou(inputs.boxes, inputs.anchors).masked_fill((inputs.labels < 0)[..., None], -1.0)  # (B, M, A)
        best, index = iou.max(1)
        threshold = self.first + (self.last - self.first) * inputs.progress
        index = torch.where(best >= threshold, index, -1)
        requested = inputs.boxes.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, 4))
        return Assignment(index, aligned_iou(inputs.predicted(), requested).clamp(0, 1))


class QualityLoss:
    """Quality focal loss (Li et al., arXiv 2006.04388, equation 1): the target of a positive anchor is the matcher's score."""

    def __init__(self, beta: float = 2.0) -> None:
        self.beta = beta

    def __call__(self, logits: Tensor, classes: Tensor, *, score: Tensor | None, weight: Tensor) -> Tensor:
        logits, count = logits.float(), logits.shape[2]
        target = F.one_hot(classes.clamp(min=0), count) * (classes >= 0)[..., None]
        target = target * (1.0 if score is None else score[..., None])
        each = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
        return (each * (logits.sigmoid() - target).abs() ** self.beta * weight[:, None, None]).sum()


class LogCoshLoss:
    """The logarithm of the hyperbolic cosine of each delta's error, averaged over the four."""

    def __call__(self, deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        error = (deltas - encode(anchors, boxes)).abs()
        return (error + F.softplus(-2 * error) - 0.6931472).mean(-1)
