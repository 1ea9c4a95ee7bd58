"""Another detector's raw outputs as targets, dense: no boxes are chosen, no anchors are matched.

Classes are trained by the quality focal loss with the other's probabilities as soft targets (Li et al., arXiv 2006.04388,
equation 5), boxes by ``1 - GIoU`` to the other's box of the same anchor, as Dense Teacher does (Zhou et al., arXiv 2207.02541,
section 3.2). Both are divided by the sum of the scores of the foreground: the anchors whose best score is among the top
:data:`SHARE` of their image. Nearly all other scores are noise near the prior, and would together outweigh the objects.

We deviate from the paper in one thing: the foreground is that of each image, not of the batch, so that each image weighs the
same and processes and micro-batches average to one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.detection.boxes import decode
from heads.detection.focal import dense_quality_focal_loss
from heads.detection.losses import DELTA_LIMIT, IoULoss, box_loss
from heads.pseudo_labels import PseudoLabels

SHARE = 0.01
"""Of an image's anchors that are foreground (the paper's k %)."""


@dataclass(frozen=True)
class SoftTargets:
    """What another detector says about each anchor; nothing in it carries a gradient."""

    logits: Tensor
    """(B, A, k) logits of the classes that count; -inf where the target is 0."""
    boxes: Tensor
    """(B, A, 4) xyxy, input pixels."""
    weight: Tensor
    """(B, A) float32: the best score of the anchors in the foreground, 0 for others."""


@torch.no_grad()
def soft_targets(logits: Tensor, deltas: Tensor, anchors: Tensor) -> SoftTargets:
    """Of raw outputs (B, A, k) and (B, A, 4) for `anchors` (A, 4) xyxy, input pixels."""
    best = logits.amax(2).float().sigmoid()  # (B, A)
    count = max(math.ceil(SHARE * best.shape[1]), 1)
    threshold = best.topk(count, dim=1).values[:, -1:]
    ty_tx, th_tw = deltas.float().split(2, dim=-1)
    boxes = decode(anchors, torch.cat([ty_tx, th_tw.clamp(max=DELTA_LIMIT)], dim=-1))
    return SoftTargets(logits, boxes, torch.where(best >= threshold, best, 0.0))


@torch.no_grad()
def pseudo_labels(logits: Tensor, deltas: Tensor, anchors: Tensor) -> PseudoLabels:
    """Of images without labels: outside of the foreground the target is 0 for every class (Dense Teacher, section 3.2)."""
    found = soft_targets(logits, deltas, anchors)
    chosen = found.weight > 0
    best, index = logits.float().max(2)
    counts = best.new_zeros(logits.shape[2]).index_add_(0, index.flatten(), found.weight.flatten())
    suppressed = logits.masked_fill(~chosen[..., None], -torch.inf)
    targets = SoftTargets(suppressed, found.boxes, found.weight)
    return PseudoLabels(targets, counts, found.weight.sum(), chosen.sum().float())


def soft_target_loss(logits: Tensor, deltas: Tensor, anchors: Tensor, targets: SoftTargets) -> dict[str, Tensor]:
    """``{"class", "box"}``: float32 scalars, means over the images.

    Args:
        logits: (B, A, k) as predicted, of the same classes as the targets'.
        deltas: (B, A, 4) as predicted.
        anchors: (A, 4) xyxy, input pixels.
    """
    batch = len(logits)
    share = 1 / (targets.weight.sum(1).clamp(min=1) * batch)  # (B,)
    positive = targets.weight > 0
    return {
        "class": dense_quality_focal_loss(logits, targets.logits, weight=share),
        "box": box_loss(
            deltas, anchors, targets.boxes, positive, IoULoss("giou"), score=targets.weight * share[:, None]
        ),
    }
