"""Focal loss in logit space (Lin et al., 2017), summed, in float32, lean in memory.

Almost every entry of the (B, A, K) logits is background. So the loss is computed as if all were, piece by piece, and then
corrected at the one entry that each matched anchor should fire. Nothing of the logits' size is stored but their gradient:
the backward pass computes the sigmoid again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.memory_efficient import differentiable_gradients

PIECE = {"cpu": 1 << 17, "cuda": 1 << 25}
"""Entries handled together: what stays in a CPU core's cache; on a GPU, few launches with bounded temporaries."""


def focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Sum over all entries of ``a_t (1 - p_t)**gamma CE(logit, target)``; with label smoothing only in the CE, as upstream.

    Args:
        logits: (B, A, K), any floating type; computed in float32 (float64 stays float64).
        labels: (B, A) int64: the class of each anchor, -1 for background.
        alpha: weight of the positive entries; the negative ones have ``1 - alpha``.
        label_smoothing: e moves the targets 1 and 0 to ``1 - e / 2`` and ``e / 2``.
        weight: (B,) factor of each image; 0 leaves an image out. None means 1.

    Returns:
        A float32 scalar, connected to `logits` even where nothing is positive.
    """
    if weight is None:
        weight = torch.ones(len(logits), device=logits.device)
    return _Focal.apply(logits, labels, weight, alpha, gamma, label_smoothing)  # type: ignore[no-any-return]


class _Focal(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, weight: Tensor, alpha: float, gamma: float, smoothing: float
    ) -> Tensor:
        ctx.save_for_backward(logits, labels, weight)
        ctx.settings = (alpha, gamma, smoothing)
        picked, positive = _pick(logits, labels)
        total = torch.where(
            positive,
            alpha * _entry(-picked, gamma, smoothing) - (1 - alpha) * _entry(picked, gamma, smoothing),
            torch.zeros_like(picked),
        ).sum(1, dtype=torch.float64)  # (B,)
        for piece in _pieces(logits):
            total += (1 - alpha) * _entry(_wide(piece), gamma, smoothing).sum(1)
        return (total * weight).sum().to(picked.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, weight = ctx.saved_tensors
        alpha, gamma, smoothing = ctx.settings
        if torch.is_grad_enabled():  # create_graph=True: what is written in place below has no derivative

            def plain(logits: Tensor) -> Tensor:
                return _plain(logits, labels, weight, alpha, gamma, smoothing)

            return *differentiable_gradients(plain, (logits,), gradients[0]), None, None, None, None, None
        scale = (gradients[0] * weight)[:, None]  # (B, 1)
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for piece, out in zip(_pieces(logits), _pieces(gradient), strict=True):
            out.copy_(_slope(_wide(piece), gamma, smoothing).mul_((1 - alpha) * scale))
        picked, positive = _pick(logits, labels)
        correct = torch.where(positive, -alpha * scale * _slope(-picked, gamma, smoothing), 0)
        index = labels.clamp(min=0)[..., None]
        # Set, not add: the sum would cancel in bf16. Background rows write back what they hold.
        gradient.scatter_(
            2, index, torch.where(positive, correct.to(gradient.dtype), gradient.gather(2, index)[..., 0])[..., None]
        )
        return gradient, None, None, None, None, None


def _plain(logits: Tensor, labels: Tensor, weight: Tensor, alpha: float, gamma: float, smoothing: float) -> Tensor:
    """The loss in operations that autograd follows; for derivatives of derivatives."""
    x = _wide(logits)
    fires = torch.arange(x.shape[2], device=x.device) == labels[..., None]  # (B, A, K)
    x = torch.where(fires, -x, x)
    losses = (gamma * F.logsigmoid(x)).exp() * (F.softplus(x) - smoothing / 2 * x)
    return (torch.where(fires, alpha, 1 - alpha) * losses * weight[:, None, None]).sum()


def _entry(x: Tensor, gamma: float, smoothing: float) -> Tensor:
    """``p**gamma (softplus(x) - e/2 x)`` with p = sigmoid(x): the loss of an entry that should not fire.

    An entry that should fire has the same with -x, since ``1 - sigmoid(x) = sigmoid(-x)``.
    """
    log_1p = F.softplus(x)
    loss = (x - log_1p).mul_(gamma).exp_()  # p**gamma, as log p = x - softplus(x): exact where p underflows
    return loss.mul_(log_1p.sub_(x, alpha=smoothing / 2) if smoothing else log_1p)


def _slope(x: Tensor, gamma: float, smoothing: float) -> Tensor:
    """The derivative of :func:`_entry`: ``p**gamma (gamma (1 - p) CE + p - e/2)``."""
    log_1p = F.softplus(x)
    log_p = x - log_1p
    p = log_p.exp()
    cross_entropy = log_1p.sub_(x, alpha=smoothing / 2) if smoothing else log_1p
    slope = cross_entropy.mul_(gamma).mul_(1 - p).add_(p)
    if smoothing:
        slope.sub_(smoothing / 2)
    return slope.mul_(log_p.mul_(gamma).exp_())


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _pick(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logit of each anchor's own class (B, A) (of class 0 for background), and which anchors are positive (B, A)."""
    return _wide(logits.gather(2, labels.clamp(min=0)[..., None])[..., 0]), labels >= 0


def _pieces(x: Tensor) -> Iterator[Tensor]:
    """(B, n) views that cover `x` (B, A, K), which is contiguous."""
    flat = x.reshape(len(x), -1)
    size = max(1, PIECE.get(x.device.type, 1 << 17) // max(1, len(x)))
    yield from flat.split(size, dim=1)
