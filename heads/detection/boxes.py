"""Box arithmetic: the Faster R-CNN coder, and intersection over union in its forms.

Boxes are ``(x1, y1, x2, y2)`` in pixels of any one frame. Deltas are ``(ty, tx, th, tw)``, in the reference's order, without
scale factors: ``ty = (cy - cy_a) / h_a``, ``th = log(h / h_a)``, and the same for x and w (Ren et al., 2015, equation 2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPS = 1e-7  # keeps a box without area finite; also the reference's value


def encode(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The deltas (..., A, 4) that turn `anchors` (A, 4) into `boxes` (..., A, 4), all xyxy."""
    anchor_x, anchor_y, anchor_w, anchor_h = centre_form(anchors)
    x, y, w, h = centre_form(boxes)
    anchor_w, anchor_h, w, h = anchor_w + _EPS, anchor_h + _EPS, w + _EPS, h + _EPS
    return torch.stack(
        [(y - anchor_y) / anchor_h, (x - anchor_x) / anchor_w, torch.log(h / anchor_h), torch.log(w / anchor_w)], dim=-1
    )


def decode(anchors: Tensor, deltas: Tensor) -> Tensor:
    """The boxes (..., A, 4) xyxy, in the frame of `anchors` (..., A, 4), that `deltas` (..., A, 4) stand for. Not clipped."""
    anchor_x, anchor_y, anchor_w, anchor_h = centre_form(anchors)
    ty, tx, th, tw = deltas.unbind(-1)
    half_w, half_h = torch.exp(tw) * anchor_w / 2, torch.exp(th) * anchor_h / 2
    x, y = tx * anchor_w + anchor_x, ty * anchor_h + anchor_y
    return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], dim=-1)


def centre_form(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """xyxy (..., 4) -> centre x, centre y, width, height, each (...)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    w, h = x2 - x1, y2 - y1
    return x1 + w / 2, y1 + h / 2, w, h


def area(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy -> (...)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of every pair: (..., N, 4) and (..., M, 4) xyxy -> (..., N, M). A pair without any area gives 0.

    Written with few temporaries (this is the matcher's and the NMS's inner loop); without gradients.
    """
    first, second = first.detach(), second.detach()
    a_x1, a_y1, a_x2, a_y2 = _planes(first[..., :, None, :])
    b_x1, b_y1, b_x2, b_y2 = _planes(second[..., None, :, :])
    inter = torch.minimum(a_x2, b_x2).sub_(torch.maximum(a_x1, b_x1)).clamp_(min=0)
    inter *= torch.minimum(a_y2, b_y2).sub_(torch.maximum(a_y1, b_y1)).clamp_(min=0)
    union = (area(first)[..., :, None] + area(second)[..., None, :]).sub_(inter)
    return inter.div_(union.clamp_(min=1e-12))


def _planes(boxes: Tensor) -> tuple[Tensor, ...]:
    """The four coordinates, each contiguous: a pass over pairs with gaps between the numbers takes twice the time."""
    return boxes.movedim(-1, 0).contiguous().unbind(0)


def aligned_iou(boxes: Tensor, targets: Tensor, kind: str = "iou") -> Tensor:
    """IoU of each box with its own target, (..., 4) xyxy each -> (...), with gradients for `boxes`.

    Args:
        kind: ``"iou"``, ``"giou"`` (Rezatofighi et al., 2019) or ``"ciou"`` (Zheng et al., 2020); the last two fall to -1,
            and so still pull on boxes that do not touch their target.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    t_x1, t_y1, t_x2, t_y2 = targets.unbind(-1)
    inter_w = (torch.minimum(x2, t_x2) - torch.maximum(x1, t_x1)).clamp(min=0)
    inter_h = (torch.minimum(y2, t_y2) - torch.maximum(y1, t_y1)).clamp(min=0)
    inter = inter_w * inter_h
    union = area(boxes) + area(targets) - inter
    iou = inter / (union + _EPS)
    if kind == "iou":
        return iou
    hull_w = torch.maximum(x2, t_x2) - torch.minimum(x1, t_x1)
    hull_h = torch.maximum(y2, t_y2) - torch.minimum(y1, t_y1)
    if kind == "giou":
        hull = hull_w * hull_h
        return iou - (hull - union) / (hull + _EPS)
    if kind != "ciou":
        raise ValueError(f"kind must be one of iou, giou, ciou, got {kind!r}")
    cx, cy, w, h = centre_form(boxes)
    t_cx, t_cy, t_w, t_h = centre_form(targets)
    distance = ((cx - t_cx) ** 2 + (cy - t_cy) ** 2) / (hull_w**2 + hull_h**2 + _EPS)
    shape = 4 / math.pi**2 * (torch.atan(t_w / (t_h + _EPS)) - torch.atan(w / (h + _EPS))) ** 2
    with torch.no_grad():  # the paper's trade-off weight is a constant to the gradient
        weight = shape / (1 - iou + shape + _EPS)
    return iou - distance - weight * shape
