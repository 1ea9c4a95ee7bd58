"""Boxes as distributions over distances (generalized focal loss, Li et al., 2020, arXiv 2006.04388, section 3.1).

For each side of a box the head gives the logits of N bins. Bin i stands for the distance ``2 i / (N - 1)`` from the anchor's
centre to that side, in units of the anchor's own side along that axis; the predicted distance is the expectation. With the
distances l, t, r, b the deltas that the rest of the detector knows (:mod:`heads.detection.boxes`) are

    ty = (b - t) / 2    tx = (r - l) / 2    th = log(t + b)    tw = log(l + r)

whatever the anchor's size, so that matchers, box losses, post-processing and exports see deltas as ever.

Two deviations from the paper. Its unit is the stride, and its 16 bins reach 16 strides at anchors of 8; here the unit is the
anchor's side and the reach two sides, which is the same and holds for every anchor scale and shape. And its layer starts with
a uniform distribution, a box of twice the anchor's sides; here the first box is the anchor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from heads.detection.boxes import centre_form
from heads.prior import SPREAD

REACH = 2.0
"""Distance of the last bin, in sides of the anchor. A box of 4 by 4 anchor sides fits about the centre."""
WEIGHT = 0.25
"""Of the loss, beside a GIoU loss of weight 2 (the paper's official code)."""
_LEAST = 1e-4  # sides of the anchor: keeps the logarithm of a box without extent finite


def expected_deltas(logits: Tensor) -> Tensor:
    """(…, 4, N) logits of the sides l, t, r, b, any floating type -> (…, 4) ty, tx, th, tw; float32 (float64 stays float64).

    Equation 4 of the paper, written as a sum of products: a matrix product would be rounded to bfloat16 under autocast.
    """
    logits = _precise(logits)
    values = torch.linspace(0.0, REACH, logits.shape[-1], device=logits.device, dtype=logits.dtype)
    left, top, right, bottom = (logits.softmax(-1) * values).sum(-1).unbind(-1)
    sizes = torch.stack([top + bottom, left + right], dim=-1).clamp(min=_LEAST)
    return torch.cat([torch.stack([(bottom - top) / 2, (right - left) / 2], dim=-1), torch.log(sizes)], dim=-1)


def distances(anchors: Tensor, boxes: Tensor) -> Tensor:
    """From the centres of `anchors` (A, 4) to the sides of `boxes` (…, A, 4), both xyxy: (…, A, 4) l, t, r, b in anchor sides.

    Negative where the centre lies outside.
    """
    x, y, width, height = centre_form(anchors)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([(x - x1) / width, (y - y1) / height, (x2 - x) / width, (y2 - y) / height], dim=-1)


def distribution_focal_loss(
    logits: Tensor, anchors: Tensor, boxes: Tensor, positive: Tensor, *, score: Tensor | None = None
) -> Tensor:
    """Sum over the positive anchors of equation 6, averaged over the four sides.

    With a distance y between the bins ``y_i`` and ``y_(i+1)``, of probabilities ``S_i`` and ``S_(i+1)``:

        DFL = -((y_(i+1) - y) log S_i + (y - y_i) log S_(i+1)),  y in units of a bin

    A distance below 0 or beyond the last bin counts as the nearest.

    Args:
        logits: (B, A, 4, N) as predicted; computed in float32 (float64 stays float64).
        anchors: (A, 4) xyxy, input pixels.
        boxes: (B, A, 4) xyxy, input pixels: the box of each positive anchor; other rows are not read.
        positive: (B, A) bool.
        score: (B, A) factor of each anchor's loss; None means 1.

    Returns:
        A scalar, connected to `logits` even where nothing is positive.
    """
    bins = logits.shape[-1]
    # As in box_loss: 0 times an infinite slope is NaN, so what is not counted is left out before the loss.
    log_p = torch.where(positive[..., None, None], _precise(logits), 0.0).log_softmax(-1)
    boxes = torch.where(positive[..., None], boxes, anchors)
    place = (distances(anchors, boxes) * ((bins - 1) / REACH)).clamp(0, bins - 1)  # (B, A, 4)
    lower = place.detach().floor().clamp(max=bins - 2)
    share = (place - lower).to(log_p.dtype)  # of the upper bin
    index = lower.long()[..., None]
    below, above = log_p.gather(-1, index)[..., 0], log_p.gather(-1, index + 1)[..., 0]
    each = -((1 - share) * below + share * above).mean(-1)  # (B, A)
    return torch.where(positive, each if score is None else each * score, 0.0).sum()


@torch.no_grad()
def start_at_anchor(layer: nn.Conv2d, bins: int) -> None:
    """Set the predicting layer of a box net so that every first box is its anchor, up to noise (:mod:`heads.prior`).

    The biases are ``-rate * i``: of all distributions with the right mean the one that says least else.
    """
    assert layer.bias is not None
    layer.weight.normal_(std=SPREAD * layer.weight[0].numel() ** -0.5)
    layer.bias.copy_(initial_biases(layer.bias, bins))


def initial_biases(like: Tensor, bins: int) -> Tensor:
    """(rows,) biases like `like`, side by side `bins` each, whose expectation is half a side of the anchor."""
    biases = [-_rate(bins) * place for place in range(bins)]
    return like.new_tensor(biases).repeat(like.numel() // bins)


def _rate(bins: int) -> float:
    """The x with ``sum(i exp(-x i)) / sum(exp(-x i)) = (N - 1) / 4`` over the bins i, by bisection."""
    low, high = 0.0, 10.0
    for _ in range(60):
        rate = (low + high) / 2
        weights = [math.exp(-rate * place) for place in range(bins)]
        mean = sum(place * weight for place, weight in enumerate(weights)) / sum(weights)
        low, high = (rate, high) if mean > (bins - 1) * 0.5 / REACH else (low, rate)
    return low


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
