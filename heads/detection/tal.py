"""Task-aligned assignment: anchors that already both classify and locate a box best learn it (TOOD, Feng et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from heads.detection.boxes import box_iou, centre_form
from heads.detection.matcher import Assignment, MatchInput, assign_to_best, box_pieces


@dataclass(frozen=True)
class TaskAlignedMatcher:
    """:func:`match_tal`."""

    reads_predictions = True
    topk: int = 13
    alpha: float = 1.0
    beta: float = 6.0

    def __call__(self, inputs: MatchInput) -> Assignment:
        return Assignment(
            match_tal(
                inputs.anchors,
                inputs.boxes,
                inputs.labels,
                class_logits=inputs.class_logits,
                predicted=inputs.predicted(),
                topk=self.topk,
                alpha=self.alpha,
                beta=self.beta,
            )
        )


@torch.no_grad()
def match_tal(
    anchors: Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    class_logits: Tensor,
    predicted: Tensor,
    topk: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
) -> Tensor:
    """Each box takes its `topk` anchors of the highest ``score**alpha * iou**beta`` with their centre inside the box.

    Only the assignment is TOOD's: targets stay hard, for our focal loss. An anchor that several boxes want goes to the one
    it overlaps best.

    Args:
        anchors: (A, 4) float32 xyxy, input pixels.
        boxes: (B, M, 4) float32 xyxy, input pixels.
        labels: (B, M) int64, -1 in padding rows.
        class_logits: (B, A, K), the network's.
        predicted: (B, A, 4) float32 xyxy, input pixels: the network's boxes, decoded.

    Returns:
        (B, A) int64: row of the anchor's box, or -1.
    """
    if boxes.shape[1] == 0:
        return torch.full((len(boxes), len(anchors)), -1, dtype=torch.int64, device=anchors.device)
    centre_x, centre_y, _, _ = centre_form(anchors)
    candidates, quality, valid = [], [], []
    for start, piece in box_pieces(boxes, len(anchors)):
        label = labels[:, start : start + piece.shape[1]]  # (B, m)
        index = label.clamp(min=0)[:, None, :].expand(-1, len(anchors), -1)
        score = class_logits.gather(2, index).float().sigmoid().transpose(1, 2)  # (B, m, A)
        iou = box_iou(piece, predicted)  # (B, m, A)
        x1, y1, x2, y2 = piece[..., None, :].unbind(-1)
        inside = (centre_x > x1) & (centre_x < x2) & (centre_y > y1) & (centre_y < y2)
        allowed = inside & (label >= 0)[..., None]
        alignment = (score**alpha * iou**beta).masked_fill(~allowed, -1.0)
        value, anchor = alignment.topk(min(topk, len(anchors)), dim=-1)  # (B, m, topk)
        candidates.append(anchor)
        quality.append(iou.gather(-1, anchor))
        valid.append(value > 0)
    return assign_to_best(torch.cat(candidates, 1), torch.cat(quality, 1), torch.cat(valid, 1), len(anchors))
