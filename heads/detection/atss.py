"""ATSS: an IoU threshold for each box, from the statistics of the anchors near it (Zhang et al., 2020, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.detection.boxes import box_iou, centre_form
from heads.detection.matcher import Assignment, MatchInput, assign_to_best


@dataclass(frozen=True)
class ATSSMatcher:
    """:func:`match_atss`."""

    reads_predictions = False
    nearest: int = 9

    def __call__(self, inputs: MatchInput) -> Assignment:
        return Assignment(
            match_atss(
                inputs.anchors,
                inputs.boxes,
                inputs.labels,
                cells=inputs.cells,
                per_cell=inputs.per_cell,
                nearest=self.nearest,
            )
        )


@torch.no_grad()
def match_atss(
    anchors: Tensor, boxes: Tensor, labels: Tensor, *, cells: Sequence[int], per_cell: int, nearest: int = 9
) -> Tensor:
    """Candidates are all anchors of the `nearest` cells of each level, by the distance of the centres.

    A candidate is taken if its IoU is at least mean + standard deviation over the box's candidates, and its centre lies in
    the box. With several anchors a cell the paper's k counts cells: its code takes k * per_cell anchors a level. A box that
    has no cell centre inside gets no anchor; as in the paper, none is forced.

    Args:
        anchors: (A, 4) float32 xyxy, input pixels, in the order of :func:`heads.detection.anchors.anchors`.
        boxes: (B, M, 4) float32 xyxy, input pixels.
        labels: (B, M) int64, -1 in padding rows.
        cells: cells of each level; ``A = sum(cells) * per_cell``.

    Returns:
        (B, A) int64: row of the anchor's box, or -1.
    """
    if boxes.shape[1] == 0:
        return torch.full((len(boxes), len(anchors)), -1, dtype=torch.int64, device=anchors.device)
    x, y, _, _ = centre_form(boxes)
    cell_x, cell_y, _, _ = centre_form(anchors[::per_cell])  # all anchors of a cell share its centre
    offset, chosen = 0, []
    for count in cells:
        level = slice(offset, offset + count)
        distance = (x[..., None] - cell_x[level]) ** 2 + (y[..., None] - cell_y[level]) ** 2  # (B, M, cells)
        chosen.append(distance.topk(min(nearest, count), dim=-1, largest=False).indices + offset)
        offset += count
    cell = torch.cat(chosen, dim=-1)  # (B, M, n)
    candidates = (cell[..., None] * per_cell + torch.arange(per_cell, device=cell.device)).flatten(2)
    iou = _iou_with(boxes, anchors[candidates])  # (B, M, n * per_cell)
    threshold = iou.mean(-1, keepdim=True) + iou.std(-1, keepdim=True)
    centre_x, centre_y = cell_x[cell].repeat_interleave(per_cell, -1), cell_y[cell].repeat_interleave(per_cell, -1)
    x1, y1, x2, y2 = boxes[..., None, :].unbind(-1)
    inside = (centre_x > x1) & (centre_x < x2) & (centre_y > y1) & (centre_y < y2)
    valid = (iou >= threshold) & (iou > 0) & inside & (labels >= 0)[..., None]
    return assign_to_best(candidates, iou, valid, len(anchors))


def _iou_with(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes (B, M, 4) with others (B, M, n, 4) of their own -> (B, M, n)."""
    return box_iou(boxes[..., None, :], others)[..., 0, :]
