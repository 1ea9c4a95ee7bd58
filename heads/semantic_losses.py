"""Losses of segmentation maps: cross-entropy (plain, weighted, of only the hardest pixels), Dice and Lovász-softmax.

All run in float32 and leave out pixels of class 255. A batch without a labelled pixel gives 0, connected to the network.
"The batch" is that of the optimiser step: all processes' images, and those of all micro-batches (:mod:`heads.ranks`).
Cross-entropy and Dice are computed at the size of the target: at stride 4 a pole of three pixels has no pixel of its own.
Lovász sorts all pixels once for each class, which there would cost more than the network, and so runs at the size of the
logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.class_weights import on_device
from heads.fields import check_fields
from heads.ranks import across, of_the_whole, over_ranks, parts_of_step, summed
from heads.structures import UserError

IGNORED = 255
"""Class of a pixel that is neither trained on nor counted."""
WEIGHT_RULES = ("median", "log", "sqrt")


@dataclass(frozen=True)
class SemanticLoss:
    """What the loss consists of; each of the first three is the weight of a term, and 0 leaves it out."""

    cross_entropy: Annotated[float, "0.."] = 1.0
    """Weight of the cross-entropy."""
    dice: Annotated[float, "0.."] = 0.0
    """Weight of the Dice loss, which counts all classes alike."""
    lovasz: Annotated[float, "0.."] = 0.0
    """Weight of the Lovász-softmax loss, which follows mIoU itself."""
    class_weights: tuple[float, ...] | None = None
    """Weight of each class in the cross-entropy, which is a weighted mean: only their proportions matter."""
    label_smoothing: Annotated[float, "0..0.99"] = 0.0
    """Share of the target that is spread over all classes."""
    ohem: Annotated[float, "0.01..1"] | None = None
    """Only pixels whose true class gets less than this probability count in the cross-entropy (.7 is usual); null
    counts all."""
    ohem_share: Annotated[float, "0.01..1"] = 0.25
    """At least this share of each image's labelled pixels counts, the hardest ones (0.25: arXiv 1905.01220, section
    3.3)."""

    def __post_init__(self) -> None:
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", tuple(float(weight) for weight in self.class_weights))
            if min(self.class_weights, default=0) < 0 or not any(self.class_weights):  # type: ignore[arg-type]
                raise UserError(f"loss.class_weights={list(self.class_weights)} must be 0 or more, and not all 0")  # type: ignore[arg-type]
        check_fields(self, "loss.")
        if not any((self.cross_entropy, self.dice, self.lovasz)):
            raise UserError("loss: cross_entropy=0, dice=0 and lovasz=0 leave no term; one of them must be above 0")


def semantic_loss(logits: Tensor, target: Tensor, settings: SemanticLoss) -> dict[str, Tensor]:
    """The weighted terms by name.

    Args:
        logits: (B, K, h, w), any float type.
        target: (B, H, W) uint8 classes, 255 where ignored.
        settings: which terms.
    """
    logits = logits.float()
    terms: dict[str, Tensor] = {}
    if settings.cross_entropy or settings.dice:
        scores = upsampled(logits, (target.shape[1], target.shape[2]))
        if settings.cross_entropy:
            terms["cross_entropy"] = settings.cross_entropy * cross_entropy(scores, target, settings)
        if settings.dice:
            terms["dice"] = settings.dice * dice(scores, target)
    if settings.lovasz:
        # "nearest-exact" takes the pixel under a cell's centre.
        size = (logits.shape[2], logits.shape[3])
        reduced = F.interpolate(target[:, None], size=size, mode="nearest-exact")[:, 0]
        terms["lovasz"] = settings.lovasz * lovasz_softmax(logits, reduced)
    return terms


def upsampled(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, K, h, w) -> (B, K, *size), bilinear between the centres of the cells."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def cross_entropy(scores: Tensor, target: Tensor, settings: SemanticLoss) -> Tensor:
    """Mean over the labelled pixels, by the weights of their classes; with `ohem`, over the hardest of them.

    Args:
        scores: (B, K, H, W) float32 logits.
        target: (B, H, W) uint8.
    """
    chosen = settings.class_weights
    if chosen is not None and len(chosen) != scores.shape[1]:
        raise UserError(f"loss.class_weights has {len(chosen)} numbers for {scores.shape[1]} classes")
    weights = None if chosen is None else on_device(chosen, scores.device)
    values = F.cross_entropy(
        scores,
        target.long(),
        weight=weights,
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=settings.label_smoothing,
    )  # (B, H, W), 0 where ignored
    counted = target != IGNORED
    if settings.ohem is not None:
        counted = hard_pixels(scores.detach(), target, settings.ohem, settings.ohem_share)
        values = values * counted
    total, parts = over_ranks(counted_share(target, settings, counted))
    return values.sum() * parts / _at_least_one(total)


def counted_share(target: Tensor, settings: SemanticLoss, counted: Tensor | None = None) -> Tensor:
    """() float32, by which the cross-entropy's sum is divided: the pixels, by the weights of their classes.

    Args:
        target: (B, H, W) uint8.
        settings: its class weights.
        counted: (B, H, W) bool; None for all that are labelled.
    """
    counted = target != IGNORED if counted is None else counted
    if settings.class_weights is None:
        return counted.float().sum()
    weights = on_device(settings.class_weights, target.device)
    return (counted * F.pad(weights, (0, 256 - len(weights)))[target.long()]).sum()


def hard_pixels(scores: Tensor, target: Tensor, probability: float, share: float) -> Tensor:
    """(B, H, W) bool: the labelled pixels whose true class gets less than `probability`, but never fewer of an image than the
    hardest `share` of its labelled pixels.

    The probability is the network's, whatever weights and smoothing make of the loss. Each image is looked at by itself (as in
    Porzi et al., arXiv 1905.01220), so that a pixel is hard or not whichever batch its image is in.

    Args:
        scores: (B, K, H, W) float32 logits.
        target: (B, H, W) uint8.
    """
    labelled = target != IGNORED
    surprise = F.cross_entropy(scores, target.long(), ignore_index=IGNORED, reduction="none")  # -ln p, 0 where ignored
    surprise = surprise.masked_fill(~labelled, -1.0).flatten(1)  # (B, H * W)
    requested = (share * labelled.flatten(1).sum(1).double() - 1e-6).ceil().long().clamp(min=1)  # (B,)
    hardest = surprise.sort(dim=1, descending=True).values
    threshold = hardest.gather(1, requested[:, None] - 1).clamp(max=-math.log(probability))
    return (surprise >= threshold).view_as(labelled) & labelled


def dice(scores: Tensor, target: Tensor) -> Tensor:
    """1 - Dice coefficient of the probabilities, over the batch as one image; mean over the classes in the target.

    Source: V-Net (arXiv 1606.04797), with a plain sum in the denominator.

    Args:
        scores: (B, K, H, W) float32 logits.
        target: (B, H, W) uint8.
    """
    count = scores.shape[1]
    counted = target != IGNORED
    classes = torch.where(counted, target, 0).long()
    probabilities = scores.softmax(1)
    true = probabilities.gather(1, classes[:, None])[:, 0] * counted  # (B, H, W)
    overlap = scores.new_zeros(count).index_add(0, classes.flatten(), true.flatten())
    truth = scores.new_zeros(count).index_add(0, classes.flatten(), counted.flatten().float())
    predicted = (probabilities * counted[:, None]).sum((0, 2, 3))  # (K,)
    overlap, truth, predicted = summed(torch.stack([overlap, truth, predicted])).unbind()
    values = 1 - 2 * overlap / (predicted + truth).clamp(min=1e-6)
    present = truth > 0
    return of_the_whole((values * present).sum() / _at_least_one(present.sum()))


def lovasz_softmax(scores: Tensor, target: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss, over the batch as one image; mean over the classes in the target.

    Source: arXiv 1705.08790, equations 8, 9 and 11, and algorithm 1.

    Args:
        scores: (B, K, h, w) float32 logits.
        target: (B, h, w) uint8.
    """
    count = scores.shape[1]
    labels = target.flatten()  # (P,)
    truth = labels[None] == torch.arange(count, device=labels.device)[:, None]  # (K, P)
    probabilities = scores.softmax(1).movedim(1, 0).flatten(1)  # (K, P)
    # An ignored pixel has no error: it comes last in the order, where it changes no other pixel's share.
    errors = (truth.float() - probabilities).abs() * (labels != IGNORED)
    shares = across(_jaccard_shares, errors, truth)
    values = (errors * shares).sum(1)
    present = summed(truth.sum(1).float()) > 0
    return (values * present).sum() * parts_of_step() / _at_least_one(present.sum())


def _jaccard_shares(errors: Tensor, truth: Tensor) -> Tensor:
    """(K, P) errors and whether the class is the true one -> each pixel's share of the Lovász extension, in its place."""
    order = errors.argsort(dim=1, descending=True)
    steps = _jaccard_steps(truth.gather(1, order).float())
    return torch.empty_like(steps).scatter_(1, order, steps)


def _jaccard_steps(truth: Tensor) -> Tensor:
    """(K, P) 0 or 1 in the order of falling errors -> by how much each further pixel raises the Jaccard loss."""
    total = truth.sum(1, keepdim=True)
    intersection = total - truth.cumsum(1)
    union = total + (1 - truth).cumsum(1)
    loss = 1 - intersection / union.clamp(min=1)
    return torch.cat([loss[:, :1], loss[:, 1:] - loss[:, :-1]], dim=1)


def _at_least_one(count: Tensor) -> Tensor:
    """`count`, or 1 where nothing is counted: the sum above it is 0 then."""
    return torch.where(count > 0, count, torch.ones_like(count))


def balanced_weights(pixels: Sequence[int], rule: str) -> tuple[float, ...]:
    """Weights that lift rare classes, from how many pixels each class has; their mean is 1.

    Rules, of a class's share f of all pixels:
        median  median(f) / f, the strongest (arXiv 1411.4734)
        log     1 / ln(1.02 + f), from 1.4 to 50 (ENet, arXiv 1606.02147)
        sqrt    sqrt(median(f) / f), between the two

    A class without a pixel gets the mean.
    """
    if rule not in WEIGHT_RULES:
        raise UserError(
            f"class_weights={rule!r} is unknown; use one of {', '.join(WEIGHT_RULES)}, or a list of numbers"
        )
    total, there = sum(pixels), [count for count in pixels if count > 0]
    if not there:
        raise UserError(f"class_weights={rule}: the training masks label no pixel at all")
    shares = [count / total for count in pixels]
    middle = sorted(there)[len(there) // 2] / total
    formula = {
        "median": lambda share: middle / share,
        "log": lambda share: 1 / math.log(1.02 + share),
        "sqrt": lambda share: math.sqrt(middle / share),
    }[rule]
    raw = [formula(share) if share > 0 else None for share in shares]
    mean = sum(weight for weight in raw if weight is not None) / len(there)
    return tuple(1.0 if weight is None else weight / mean for weight in raw)
