"""Where the last, class-dependent layer of a head starts: at its prior, whatever the features are.

A layer with weights drawn at the usual scale, N(0, 1 / fan_in), adds noise of the features' size to every logit. Focal loss
grows with exp(2.5 x) of a background entry's logit, so a few cells with large features decide the whole first loss: 50 to 200
times what the prior gives on COCO images, and other gradients than the prior's with it. RetinaNet (Lin et al., 2017, section
4.1) therefore draws N(0, 0.01²); for 1x1 convolutions of 64 to 384 channels that still leaves up to 0.2 of the features' size.
Here the deviation shrinks with the fan-in, so that the logits' noise is :data:`SPREAD` of the features' root mean square at
every width.

Not exactly zero: with zeros no gradient reaches the layers before the last one in the first step, and all logits of an
untrained model are tied, so that two runtimes would order its detections differently.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PRIOR = 0.01
"""Probability that every entry of a detector starts with, so that the many background entries don't dominate the first steps
(RetinaNet, section 4.1)."""
SPREAD = 0.01
"""Deviation of the first logits from the prior's, as a share of the features' root mean square."""
EVEN = 0.5
"""Of every logit of a softmax: each of K classes then has the probability 1 / K."""


def initial_rows(like: Tensor, prior: float | None, *, loaded: bool = False) -> Tensor:
    """New initial values for rows of the last class layer of a head.

    Rows of a fresh layer and rows of classes that a weight file lacks both start with these.

    Args:
        like: (rows, …) weights, or (rows,) biases, of the layer: they give shape, dtype and device.
        prior: the sigmoid of each first logit; None for a layer whose rows are directions (prototypes).
        loaded: the layers before this one come from a file: their features may be of any size, and need no gradient from
            these rows in the first step. The weights are zero then, and the logits are the prior's whatever the features.

    Returns:
        A tensor like `like`. Weights are drawn from torch's default generator.
    """
    if prior is None:  # a row without length has no direction and an infinite gradient
        return torch.randn_like(like)
    if like.dim() == 1:
        return torch.full_like(like, 0.0 - math.log((1 - prior) / prior))
    if loaded:
        return torch.zeros_like(like)
    return torch.randn_like(like).mul_(SPREAD * like[0].numel() ** -0.5)


@torch.no_grad()
def start_at_prior(layer: nn.Conv2d | nn.Linear, prior: float | None = EVEN) -> None:
    """Set all rows of the last class layer of a head to :func:`initial_rows`."""
    layer.weight.copy_(initial_rows(layer.weight, prior))
    if layer.bias is not None:
        layer.bias.copy_(initial_rows(layer.bias, prior))
