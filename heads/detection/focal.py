"""Focal loss and its soft-target relatives in logit space, summed, in float32, memory-efficient.

Almost every entry of the (B, A, K) logits is background. So the loss is computed as if all were, piece by piece, and then
corrected at the one entry that each matched anchor should fire. Nothing of the logits' size is stored but their gradient:
the backward pass computes the sigmoid again.

=========  =========================================  =====================================================
loss       an entry that should fire, target y        an entry that should not
=========  =========================================  =====================================================
focal      ``alpha (1 - p)**gamma CE(x, 1)``          ``(1 - alpha) p**gamma CE(x, 0)`` (Lin et al., 2017)
quality    ``abs(y - p)**beta CE(x, y)``              ``p**beta CE(x, 0)`` (Li et al., 2020, equation 5)
varifocal  ``y CE(x, y)``                             ``alpha p**gamma CE(x, 0)`` (Zhang et al., 2021, equation 2)
=========  =========================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

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
    class_weight: Tensor | None = None,
) -> Tensor:
    """Sum over all entries of ``a_t (1 - p_t)**gamma CE(logit, target)``; with label smoothing only in the CE, as upstream.

    Args:
        logits: (B, A, K), any floating type; computed in float32 (float64 stays float64).
        labels: (B, A) int64: the class of each anchor, -1 for background.
        alpha: weight of the positive entries; the negative ones have ``1 - alpha``.
        label_smoothing: e moves the targets 1 and 0 to ``1 - e / 2`` and ``e / 2``.
        weight: (B,) factor of each image; 0 leaves an image out. None means 1.
        class_weight: (K,) factor of the entry that a positive anchor of each class should fire. None means 1.

    Returns:
        A float32 scalar, connected to `logits` even where nothing is positive.
    """
    return _summed(logits, labels, None, weight, class_weight, _Hard(alpha, gamma, label_smoothing))


def quality_focal_loss(
    logits: Tensor,
    labels: Tensor,
    score: Tensor | None,
    *,
    beta: float = 2.0,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Sum over all entries of ``abs(y - p)**beta CE(logit, y)`` (generalized focal loss, Li et al., 2020, equation 5).

    Args:
        logits, labels, weight, class_weight: as in :func:`focal_loss`.
        score: (B, A) in 0…1: the target y of each positive anchor at its class; None means 1.
    """
    return _summed(logits, labels, score, weight, class_weight, _Quality(beta))


def varifocal_loss(
    logits: Tensor,
    labels: Tensor,
    score: Tensor | None,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Sum of ``y CE(logit, y)`` over the entries with a target y, and ``alpha p**gamma CE(logit, 0)`` over all others.

    VarifocalNet, Zhang et al., 2021, equation 2. Arguments as in :func:`quality_focal_loss`.
    """
    return _summed(logits, labels, score, weight, class_weight, _Varifocal(alpha, gamma))


def dense_quality_focal_loss(logits: Tensor, target_logits: Tensor, *, weight: Tensor, beta: float = 2.0) -> Tensor:
    """Sum over all entries of ``abs(y - p)**beta CE(logit, y)`` with a target ``y = sigmoid(target_logits)`` for each.

    :func:`quality_focal_loss` with the targets of another network, all of which may be above 0.

    Args:
        logits: (B, A, K), any floating type; computed in float32.
        target_logits: (B, A, K), -inf for a target of 0; without gradient.
        weight: (B,) factor of each image.
    """
    return _DenseQuality.apply(logits, target_logits.detach(), weight, _Quality(beta))  # type: ignore[no-any-return]


class _Rule(Protocol):
    """What an entry costs. Entries that should not fire cost ``background * p**gamma * CE``, see :func:`_entry`."""

    @property
    def background(self) -> float: ...
    @property
    def gamma(self) -> float: ...
    @property
    def smoothing(self) -> float: ...

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of an entry with the logit x and the target y > 0."""
        ...

    def slope(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """`scale` times its derivative by x."""
        ...

    def plain(self, x: Tensor, y: Tensor) -> Tensor:
        """`value` in operations that autograd follows."""
        ...


@dataclass(frozen=True)
class _Hard:
    alpha: float
    gamma: float
    smoothing: float

    @property
    def background(self) -> float:
        return 1 - self.alpha

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        return self.alpha * _entry(-x, self.gamma, self.smoothing)

    def slope(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        return -self.alpha * scale * _slope(-x, self.gamma, self.smoothing)

    def plain(self, x: Tensor, y: Tensor) -> Tensor:
        return self.alpha * _plain_entry(-x, self.gamma, self.smoothing)


@dataclass(frozen=True)
class _Quality:
    gamma: float
    background: float = 1.0
    smoothing: float = 0.0

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        return (y - x.sigmoid()).abs() ** self.gamma * (F.softplus(x) - x * y)

    def slope(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        p = x.sigmoid()
        above, distance = p - y, (p - y).abs()
        outer = self.gamma * distance ** (self.gamma - 1) * above.sign() * p * (1 - p)
        return scale * (outer * (F.softplus(x) - x * y) + distance**self.gamma * above)

    plain = value


@dataclass(frozen=True)
class _Varifocal:
    background: float
    gamma: float
    smoothing: float = 0.0

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        return y * (F.softplus(x) - x * y)

    def slope(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        return scale * y * (x.sigmoid() - y)

    plain = value


def _summed(
    logits: Tensor,
    labels: Tensor,
    score: Tensor | None,
    weight: Tensor | None,
    class_weight: Tensor | None,
    rule: _Rule,
) -> Tensor:
    if weight is None:
        weight = torch.ones(len(logits), device=logits.device)
    if score is None:
        score = torch.ones(1, 1, device=logits.device)
    if class_weight is None:
        factor = torch.ones(1, 1, device=logits.device)
    else:
        factor = class_weight[labels.clamp(min=0)]  # (B, A)
    return _Focal.apply(logits, labels, _wide(score.detach()), factor, weight, rule)  # type: ignore[no-any-return]


class _Focal(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, score: Tensor, factor: Tensor, weight: Tensor, rule: _Rule
    ) -> Tensor:
        ctx.save_for_backward(logits, labels, score, factor, weight)
        ctx.rule = rule
        picked, positive = _pick(logits, labels)
        total = torch.where(
            positive,
            factor * rule.value(picked, score) - rule.background * _entry(picked, rule.gamma, rule.smoothing),
            torch.zeros_like(picked),
        ).sum(1, dtype=torch.float64)  # (B,)
        for piece in _pieces(logits):
            total += rule.background * _entry(_wide(piece), rule.gamma, rule.smoothing).sum(1)
        return (total * weight).sum().to(picked.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, score, factor, weight = ctx.saved_tensors
        rule = ctx.rule
        if torch.is_grad_enabled():  # create_graph=True: what is written in place below has no derivative

            def plain(logits: Tensor) -> Tensor:
                return _plain(logits, labels, score, factor, weight, rule)

            return *differentiable_gradients(plain, (logits,), gradients[0]), None, None, None, None, None
        scale = (gradients[0] * weight)[:, None]  # (B, 1)
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for piece, out in zip(_pieces(logits), _pieces(gradient), strict=True):
            out.copy_(_slope(_wide(piece), rule.gamma, rule.smoothing).mul_(rule.background * scale))
        picked, positive = _pick(logits, labels)
        correct = torch.where(positive, factor * rule.slope(picked, score, scale), 0)
        index = labels.clamp(min=0)[..., None]
        # Set, not add: the sum would cancel in bf16. Background rows write back what they hold.
        gradient.scatter_(
            2, index, torch.where(positive, correct.to(gradient.dtype), gradient.gather(2, index)[..., 0])[..., None]
        )
        return gradient, None, None, None, None, None


class _DenseQuality(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, weight: Tensor, rule: _Quality) -> Tensor:
        ctx.save_for_backward(logits, targets, weight)
        ctx.rule = rule
        total = torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
        for x, target in zip(_pieces(logits), _pieces(targets), strict=True):
            total += rule.value(_wide(x), _wide(target).sigmoid()).sum(1)
        return (total * weight).sum().to(torch.promote_types(logits.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, weight = ctx.saved_tensors
        rule = ctx.rule
        if torch.is_grad_enabled():  # create_graph=True

            def plain(logits: Tensor) -> Tensor:
                return (rule.plain(_wide(logits), _wide(targets).sigmoid()) * weight[:, None, None]).sum()

            return *differentiable_gradients(plain, (logits,), gradients[0]), None, None, None
        scale = (gradients[0] * weight)[:, None]  # (B, 1)
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for x, target, out in zip(_pieces(logits), _pieces(targets), _pieces(gradient), strict=True):
            out.copy_(rule.slope(_wide(x), _wide(target).sigmoid(), scale))
        return gradient, None, None, None


def _plain(logits: Tensor, labels: Tensor, score: Tensor, factor: Tensor, weight: Tensor, rule: _Rule) -> Tensor:
    """The loss in operations that autograd follows; for derivatives of derivatives."""
    x = _wide(logits)
    fires = torch.arange(x.shape[2], device=x.device) == labels[..., None]  # (B, A, K)
    background = rule.background * _plain_entry(x, rule.gamma, rule.smoothing)
    positive = factor[..., None] * rule.plain(x, score[..., None])
    return (torch.where(fires, positive, background) * weight[:, None, None]).sum()


def _plain_entry(x: Tensor, gamma: float, smoothing: float) -> Tensor:
    """:func:`_entry` likewise."""
    return (gamma * F.logsigmoid(x)).exp() * (F.softplus(x) - smoothing / 2 * x)


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
