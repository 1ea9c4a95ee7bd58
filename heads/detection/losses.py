"""What a detector is trained on: a class loss over all anchors, a box loss over the matched ones.

The paper's are the focal loss and Huber's. With soft targets (``classes`` quality or varifocal) an anchor's target for its
class is the score that the matcher gives it, or the IoU of its predicted box with its box where the matcher gives none.

EfficientDet, section 5.1; weights and normalizer as in its official code. Two deviations. The normalizer is the number of
positive anchors of the whole optimiser step divided by its parts (:mod:`heads.ranks`), at least 1, so that a run on two GPUs,
or one that accumulates two batches, equals one of twice the batch; ``normalizer="paper"`` has that number plus 1, as the
official code. And every coordinate of a matched anchor counts: upstream leaves out those whose target happens to be exactly 0,
as if they were background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.class_weights import on_device
from heads.detection.boxes import aligned_iou, decode, encode
from heads.detection.focal import focal_loss, quality_focal_loss, varifocal_loss
from heads.detection.matcher import ATSSMatcher, IoUMatcher, Matcher, ScheduledMatcher, TaskAlignedMatcher
from heads.errors import UserError
from heads.fields import check_fields
from heads.ranks import over_ranks

DELTA_LIMIT = math.log(1000 / 16)  # an IoU loss reads exp(delta): a box 60 times its anchor is far enough


@dataclass(frozen=True)
class DetectionLoss:
    """The settings of a detection head's loss."""

    matcher: Literal["iou", "atss", "tal", "atss_tal"] = "iou"
    """How anchors are assigned to boxes; iou is the paper's, the others adapt to the data; atss_tal begins with atss."""
    threshold: Annotated[float, "0..1"] = 0.5
    """iou matcher: an anchor that overlaps a box by this is positive."""
    atss_nearest: Annotated[int, "1.."] = 9
    """``atss``: candidate cells of each level."""
    tal_topk: Annotated[int, "1.."] = 13
    """``tal``: anchors of each box."""
    tal_alpha: float = 1.0
    tal_beta: float = 6.0
    tal_start: Annotated[float, "0..1"] = 0.25
    """``atss_tal``: share of the training after which ``tal`` assigns."""
    tal_smallest: Annotated[float, "0.."] = 0.0
    """``tal``: sides below this, in input pixels, count as this long where anchors inside a box are looked for."""
    classes: Literal["focal", "quality", "varifocal"] = "focal"
    """Class loss: ``focal`` on hard targets, the others on soft ones: how well the anchor's box fits."""
    alpha: Annotated[float, "0..1"] = 0.25
    """Focal: weight of positive entries against ``1 - alpha``."""
    gamma: Annotated[float, "0..10"] = 1.5
    """Focal: how strongly easy entries are down-weighted. RetinaNet had 2.0; the losses on soft targets always have 2."""
    label_smoothing: Annotated[float, "0..1"] = 0.0
    """Share of a target that is spread over positive and negative."""
    class_weight: Annotated[float, "0.."] = 1.0
    """Weight of the class loss."""
    class_weights: tuple[float, ...] | None = None
    """Factor of each class in the class loss of positive anchors; None means 1."""
    box: Literal["huber", "giou", "ciou"] = "huber"
    """``huber`` on the deltas, or ``giou`` / ``ciou`` on the boxes."""
    delta: Annotated[float, "0.001..10"] = 0.1
    """Huber: where the loss turns from quadratic to linear."""
    box_weight: Annotated[float, "0.."] | None = None
    """None means 50 for ``huber`` (the official code's) and 2 for the IoU losses (usual beside a focal loss)."""
    dfl_weight: Annotated[float, "0.."] | None = None
    """Weight of the distribution focal loss of a head with ``bins``; None means 0.25."""
    box_by_score: bool = False
    """Weight each anchor's box loss by its soft target."""
    normalizer: Literal["positives", "paper", "score"] = "positives"
    """Losses are divided by the positive anchors of all devices, by their number plus one, or by the sum of soft targets."""

    def __post_init__(self) -> None:
        check_fields(self, "loss.")
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", tuple(float(weight) for weight in self.class_weights))
            if min(self.class_weights, default=0) < 0 or not any(self.class_weights):
                raise UserError(f"loss.class_weights={list(self.class_weights)} must be 0 or more, and not all 0")
        if self.classes != "focal" and (self.alpha, self.gamma, self.label_smoothing) != (0.25, 1.5, 0.0):
            raise UserError(
                f"loss.classes={self.classes}: alpha, gamma and label_smoothing are of the focal loss; leave them out, or take "
                "loss.classes=focal"
            )

    @property
    def box_factor(self) -> float:
        """`box_weight`, or the default that goes with `box`."""
        if self.box_weight is not None:
            return self.box_weight
        return 50.0 if self.box == "huber" else 2.0


def _tal(settings: DetectionLoss) -> TaskAlignedMatcher:
    return TaskAlignedMatcher(settings.tal_topk, settings.tal_alpha, settings.tal_beta, smallest=settings.tal_smallest)


def normalizer(positives: Tensor, kind: str = "positives") -> Tensor:
    """Positive anchors, or the sum of their soft targets -> what the loss sums are divided by: float32, at least 1 / parts.

    `positives` is a scalar of this part of the step.

    Every rank must call it in every step (:mod:`heads.ranks`). N parts then give the gradient of one that has all their
    images.
    """
    total, parts = over_ranks(positives)
    return (total + 1 if kind == "paper" else total.clamp(min=1)) / parts


@dataclass(frozen=True)
class FocalLoss:
    """Class loss: :func:`heads.detection.focal.focal_loss` on hard targets; a matcher's soft scores are not read."""

    alpha: float = 0.25
    gamma: float = 1.5
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __call__(self, logits: Tensor, classes: Tensor, *, score: Tensor | None, weight: Tensor) -> Tensor:
        """See :class:`ClassLoss`."""
        return focal_loss(
            logits,
            classes,
            alpha=self.alpha,
            gamma=self.gamma,
            label_smoothing=self.label_smoothing,
            weight=weight,
            class_weight=_tensor(self.class_weights, logits),
        )


@dataclass(frozen=True)
class QualityFocalLoss:
    """Class loss: :func:`heads.detection.focal.quality_focal_loss`."""

    reads_score = True
    beta: float = 2.0
    class_weights: tuple[float, ...] | None = None

    def __call__(self, logits: Tensor, classes: Tensor, *, score: Tensor | None, weight: Tensor) -> Tensor:
        """See :class:`ClassLoss`."""
        factors = _tensor(self.class_weights, logits)
        return quality_focal_loss(logits, classes, score, beta=self.beta, weight=weight, class_weight=factors)


@dataclass(frozen=True)
class VarifocalLoss:
    """Class loss: :func:`heads.detection.focal.varifocal_loss`."""

    reads_score = True
    alpha: float = 0.75
    gamma: float = 2.0
    class_weights: tuple[float, ...] | None = None

    def __call__(self, logits: Tensor, classes: Tensor, *, score: Tensor | None, weight: Tensor) -> Tensor:
        """See :class:`ClassLoss`."""
        return varifocal_loss(
            logits,
            classes,
            score,
            alpha=self.alpha,
            gamma=self.gamma,
            weight=weight,
            class_weight=_tensor(self.class_weights, logits),
        )


def _tensor(weights: tuple[float, ...] | None, logits: Tensor) -> Tensor | None:
    return None if weights is None else on_device(weights, logits.device)


class ClassLoss(Protocol):
    """Anything that is called like this.

    One with an attribute ``reads_score = True`` gets a score in any case: where the matcher gives none, the IoU of each
    positive anchor's predicted box with its box.
    """

    def __call__(self, logits: Tensor, classes: Tensor, *, score: Tensor | None, weight: Tensor) -> Tensor:
        """Sum over all entries, a float32 scalar that is connected to `logits`.

        Args:
            logits: (B, A, K).
            classes: (B, A) int64: the class of each anchor, -1 for background.
            score: (B, A) float32 in 0…1 of the matcher, for positive anchors; None means 1.
            weight: (B,) float32 factor of each image; 0 leaves an image out.
        """
        ...


class BoxLoss(Protocol):
    """Anything that is called like this. Rows that are not positive have a valid box, and are not counted."""

    def __call__(self, deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        """(B, A) float32: the loss of each anchor.

        Args:
            deltas: (B, A, 4) float32, as predicted.
            anchors: (A, 4) xyxy, input pixels.
            boxes: (B, A, 4) xyxy, input pixels: what each anchor should predict.
        """
        ...


@dataclass(frozen=True)
class HuberLoss:
    """Huber's loss of the deltas, averaged over the four."""

    delta: float = 0.1

    def __call__(self, deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        return F.huber_loss(deltas, encode(anchors, boxes), reduction="none", delta=self.delta).mean(-1)


@dataclass(frozen=True)
class IoULoss:
    """``1 - IoU`` of the decoded boxes, by the rule `kind`: ``giou`` or ``ciou``."""

    kind: str = "ciou"

    def __call__(self, deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        ty_tx, th_tw = deltas.split(2, dim=-1)
        predicted = decode(anchors, torch.cat([ty_tx, th_tw.clamp(max=DELTA_LIMIT)], dim=-1))
        return 1 - aligned_iou(predicted, boxes, self.kind)


def box_loss(
    deltas: Tensor, anchors: Tensor, boxes: Tensor, positive: Tensor, loss: BoxLoss, *, score: Tensor | None = None
) -> Tensor:
    """Sum of `loss` over the positive anchors, float32 scalar.

    All shapes are fixed: four numbers an anchor cost little beside K logits, and no length has to be fetched from a GPU.

    Args:
        deltas: (B, A, 4) as predicted.
        anchors: (A, 4) xyxy, input pixels.
        boxes: (B, A, 4) xyxy, input pixels: the box of each positive anchor; other rows are not read.
        positive: (B, A) bool.
        loss: of each anchor.
        score: (B, A) factor of each anchor's loss; None means 1.
    """
    # A loss that is not counted still has a slope, and 0 times one that is infinite is NaN: background anchors, whose
    # deltas nothing holds, are left out before the loss.
    deltas = torch.where(positive[..., None], deltas.float(), 0.0)
    boxes = torch.where(positive[..., None], boxes, anchors)  # any valid box will do for the rest
    each = loss(deltas, anchors, boxes)
    return torch.where(positive, each if score is None else each * score, 0.0).sum()


MATCHERS: Mapping[str, Callable[[DetectionLoss], Matcher]] = {
    "iou": lambda settings: IoUMatcher(settings.threshold),
    "atss": lambda settings: ATSSMatcher(settings.atss_nearest),
    "tal": lambda settings: _tal(settings),
    "atss_tal": lambda settings: ScheduledMatcher(
        ATSSMatcher(settings.atss_nearest), _tal(settings), start=settings.tal_start
    ),
}
"""By :attr:`DetectionLoss.matcher`."""
CLASS_LOSSES: Mapping[str, Callable[[DetectionLoss], ClassLoss]] = {
    "focal": lambda settings: FocalLoss(
        settings.alpha, settings.gamma, settings.label_smoothing, settings.class_weights
    ),
    "quality": lambda settings: QualityFocalLoss(class_weights=settings.class_weights),
    "varifocal": lambda settings: VarifocalLoss(class_weights=settings.class_weights),
}
"""By :attr:`DetectionLoss.classes`."""
BOX_LOSSES: Mapping[str, Callable[[DetectionLoss], BoxLoss]] = {
    "huber": lambda settings: HuberLoss(settings.delta),
    "giou": lambda settings: IoULoss("giou"),
    "ciou": lambda settings: IoULoss("ciou"),
}
"""By :attr:`DetectionLoss.box`."""
