"""The semantic head: pyramid levels to a class for each pixel.

Two designs, chosen by `levels` and `merge`:

    finest     EfficientDet's (arXiv 1911.09070, section 5.2): the pyramid spans P2 to P7 and only P2 is classified, by
               three convolutions of twice its width. Its neck works at stride 4, which costs most of the pass.
    sum        In the spirit of ESeg (arXiv 2203.12683): more and coarser levels, P3 to P9, instead of atrous convolutions
    weighted   and of high resolution inside. All levels are upsampled and summed, and a small net classifies the sum.

The logits stay at the size of the finest level. They are made larger, bilinearly, only where a loss or a segmentation map needs
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import (
    Activation,
    Conv2d,
    ConvNormAct,
    LayerConventions,
    convolution3x3,
    initialise,
    normalised_shares,
)
from backbones.memory_efficient import norm_act
from heads.distillation import class_wise, rows, too_few
from heads.fields import check_fields
from heads.prior import EVEN, start_at_prior
from heads.protocol import Context, SharedClasses
from heads.pseudo_labels import PseudoLabels, confident_classes, soft_cross_entropy
from heads.ranks import over_ranks
from heads.semantic_inference import class_map
from heads.semantic_losses import IGNORED, SemanticLoss, counted_share, semantic_loss
from heads.structures import Geometry, Targets, UserError

MERGES = ("finest", "sum", "weighted")


@dataclass(frozen=True)
class AuxiliaryOptions:
    """Of an auxiliary head."""

    level: str | None = None
    """A level of the backbone (``C4``) or of the neck (``P5``); None for no such head."""
    weight: Annotated[float, "0<.."] = 0.4
    """Of its cross-entropy in the loss."""
    channels: Annotated[int, "1.."] = 64
    """Of its one convolution."""

    def __post_init__(self) -> None:
        check_fields(self, "head.semantic.auxiliary.")


@dataclass(frozen=True)
class SemanticOptions(LayerConventions):
    """Of a semantic head."""

    levels: tuple[str, ...] = ("P2", "P3", "P4", "P5", "P6", "P7")
    """The pyramid that the head wants, finest first; with ``merge="finest"`` it reads only the first."""
    merge: str = "finest"
    """How the levels become one map, see the module's docstring."""
    channels: Annotated[int, "1.."] | None = None
    """Width of the convolutions before the last; None for that of the levels."""
    repeats: Annotated[int, "0.."] = 3
    """Number of those convolutions."""
    separable: bool = True
    """Depthwise and pointwise instead of full convolutions."""
    dropout: Annotated[float, "0..<1"] = 0.0
    """Dropout of whole channels before the last convolution."""
    auxiliary: AuxiliaryOptions = field(default_factory=AuxiliaryOptions)
    loss: SemanticLoss = field(default_factory=SemanticLoss)

    def __post_init__(self) -> None:
        check_fields(self, "head.semantic.")


class Merge(nn.Module):
    """Levels, finest first -> one map of the finest one's size.

    Args:
        levels: how many.
        rule: ``sum``, or ``weighted`` with learned :func:`backbones.layers.normalised_shares`.
    """

    def __init__(self, levels: int, rule: str) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(levels)) if rule == "weighted" else None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, h_i, w_i) -> (B, C, h_0, w_0)."""
        if self.weights is not None:
            shares = normalised_shares(self.weights).to(inputs[0].dtype)
            inputs = [x * share for x, share in zip(inputs, shares, strict=True)]
        # From the coarsest down, each sum enlarged once: large maps are never enlarged more than twofold.
        total = inputs[-1]
        for x in reversed(inputs[:-1]):
            total = x + F.interpolate(total, size=x.shape[2:], mode="bilinear", align_corners=False)
        return total


class ConvBlock(nn.Module):
    """3x3 convolution (separable or full), BatchNorm, activation."""

    def __init__(self, in_channels: int, channels: int, options: SemanticOptions) -> None:
        super().__init__()
        separable, padding = options.separable, options.padding
        self.conv = convolution3x3(in_channels, channels, separable=separable, bias=False, padding=padding)
        self.norm = options.norm(channels)
        self.act = Activation(options.activation)

    def forward(self, x: Tensor) -> Tensor:
        return norm_act(self.norm, self.act, self.conv(x))


class AuxiliaryHead(nn.Module):
    """Classifies a deeper level, only in training, so that gradients reach it undiluted (PSPNet, arXiv 1612.01105).

    Args:
        in_channels: of the level.
        num_classes: K.
        options: of the head that it belongs to.
    """

    def __init__(self, in_channels: int, num_classes: int, options: SemanticOptions) -> None:
        super().__init__()
        own = options.auxiliary
        assert own.level is not None, "an auxiliary loss needs a level"
        self.level, self.weight = own.level, own.weight
        self.conv = ConvNormAct(in_channels, own.channels, 3, conventions=options)
        self.classifier = Conv2d(own.channels, num_classes, 1, bias=True)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(B, K, h, w) logits of its level."""
        return self.classifier(self.conv(features[self.level]))

    def loss(self, output: Tensor, targets: Targets, settings: SemanticLoss) -> Tensor:
        """Weighted float32 cross-entropy, with the classes weighted as in `settings`."""
        if targets.semantic is None:
            return output.float().sum() * 0.0
        with torch.autocast(output.device.type, enabled=False):
            return self.weight * semantic_loss(output, targets.semantic, _plain(settings))["cross_entropy"]

    def count(self, targets: Targets, settings: SemanticLoss) -> None:
        """What :meth:`loss` counts, from the targets only (:mod:`heads.ranks`)."""
        if targets.semantic is not None:
            over_ranks(counted_share(targets.semantic, _plain(settings)))


def _plain(settings: SemanticLoss) -> SemanticLoss:
    """The auxiliary loss: cross-entropy over all pixels, with the classes weighted as in `settings`."""
    return SemanticLoss(class_weights=settings.class_weights, label_smoothing=settings.label_smoothing)


@dataclass(frozen=True)
class DeepLogits:
    """What a head with an auxiliary one puts out in training."""

    logits: Tensor
    """(B, K, H', W')."""
    auxiliary: Tensor
    """(B, K, h, w), of the deeper level."""


class SemanticHead(nn.Module):
    """Semantic segmentation: forward, loss and predict.

    Args:
        in_channels: of every level.
        num_classes: K.
        auxiliary: a second, deeper place to classify in training; None for none.

    Attributes:
        in_levels: what it reads.
        stride: of the logits, input pixels.
    """

    in_heads: Sequence[str] = ()
    class_layers: Sequence[str] = ("classifier", "auxiliary.classifier")
    prior: float | None = EVEN
    pseudo_terms: Sequence[str] = ("pixels",)

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        options: SemanticOptions | None = None,
        *,
        auxiliary: AuxiliaryHead | None = None,
    ) -> None:
        super().__init__()
        options = options or SemanticOptions()
        if not 1 <= num_classes <= 255:
            raise UserError(f"num_classes={num_classes} of a semantic head must be 1 to 255: 255 marks ignored pixels")
        self.num_classes = num_classes
        self._levels = read_levels(options.levels, options.merge)
        deep = () if auxiliary is None else (auxiliary.level,)
        self.in_levels: Sequence[str] = (*self._levels, *(level for level in deep if level not in self._levels))
        self.stride = 2 ** int(self._levels[0][1:])
        self.loss_settings = options.loss
        weights = self.loss_settings.class_weights
        if weights is not None and len(weights) != num_classes:
            raise UserError(f"loss.class_weights has {len(weights)} numbers for {num_classes} classes")
        self.merge = Merge(len(self._levels), options.merge) if len(self._levels) > 1 else None
        widths = [in_channels, *[options.channels or in_channels] * options.repeats]
        self.convs = nn.Sequential(*(ConvBlock(*pair, options) for pair in pairwise(widths)))
        self.dropout = nn.Dropout2d(options.dropout)
        self.classifier = Conv2d(widths[-1], num_classes, 1, bias=True)
        self.auxiliary = auxiliary
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He's initialisation; the last convolution starts at its prior (:mod:`heads.prior`): the first loss is ln K."""
        initialise(self)
        start_at_prior(self.classifier, self.prior)
        if self.auxiliary is not None:
            start_at_prior(self.auxiliary.classifier, self.prior)

    def forward(self, features: Mapping[str, Tensor], context: Context) -> Tensor | DeepLogits:
        """Level name -> (B, in_channels, h, w) becomes (B, K, H', W') logits of the finest level's size.

        In training, with an auxiliary head, its logits stand beside them.
        """
        missing = [level for level in self.in_levels if level not in features]
        if missing:
            raise UserError(
                f"the semantic head reads {', '.join(self.in_levels)}, but there is no {', '.join(missing)} among "
                f"{', '.join(features)}: let the neck make these levels"
            )
        inputs = [features[level] for level in self._levels]
        x = inputs[0] if self.merge is None else self.merge(inputs)
        logits = self.classifier(self.dropout(self.convs(x)))
        if self.training and self.auxiliary is not None:
            return DeepLogits(logits, self.auxiliary(features))
        return logits

    def loss(self, output: Tensor | DeepLogits, targets: Targets, context: Context) -> dict[str, Tensor]:
        """Weighted float32 scalars ``{"cross_entropy", "dice", "lovasz", "auxiliary"}``, those that the settings ask for.

        An image that is ignored throughout adds nothing; a batch of such images, or without masks, gives 0.

        Args:
            output: (B, K, H', W') logits, or with those of the auxiliary head.
            targets: `semantic` (B, H, W) uint8 in input pixels, 255 where ignored.
        """
        settings, logits = self.loss_settings, output.logits if isinstance(output, DeepLogits) else output
        with torch.autocast(logits.device.type, enabled=False):
            if targets.semantic is None:
                nowhere = logits.float().sum() * 0.0
                terms = {term: nowhere for term in ("cross_entropy", "dice", "lovasz") if getattr(settings, term)}
            else:
                terms = semantic_loss(logits, targets.semantic, settings)
        if isinstance(output, DeepLogits):
            assert self.auxiliary is not None
            terms["auxiliary"] = self.auxiliary.loss(output.auxiliary, targets, settings)
        return terms

    @property
    def counts_predictions(self) -> bool:
        """Whether what :meth:`loss` counts depends on the logits: which pixels are hard, the areas of Dice, Lovász's order."""
        settings = self.loss_settings
        return bool((settings.cross_entropy and settings.ohem is not None) or settings.dice or settings.lovasz)

    def count(self, output: Tensor | DeepLogits, targets: Targets, context: Context) -> None:
        """What :meth:`loss` counts, where only the targets decide it (:mod:`heads.ranks`)."""
        if targets.semantic is not None:
            over_ranks(counted_share(targets.semantic, self.loss_settings))
        if isinstance(output, DeepLogits):
            assert self.auxiliary is not None
            self.auxiliary.count(targets, self.loss_settings)

    def labelled(self, targets: Targets) -> bool | Tensor:
        """Whether a pixel of the batch is labelled: False or () bool."""
        return False if targets.semantic is None else (targets.semantic != IGNORED).any()

    def cannot_learn_from(self, teacher: nn.Module, shared: SharedClasses) -> str | None:
        """See :class:`heads.protocol.Distils`."""
        return too_few(shared.own) if isinstance(teacher, SemanticHead) else f"it is a {type(teacher).__name__}"

    def distil(
        self, output: Tensor | DeepLogits, teacher: Tensor, shared: SharedClasses, *, temperature: float
    ) -> dict[str, Tensor]:
        """``{"pixels"}``: :func:`heads.distillation.class_wise` over the shared classes, at the size of this head's logits."""
        logits = output.logits if isinstance(output, DeepLogits) else output
        with torch.autocast(logits.device.type, enabled=False):
            own, other = rows(logits, shared.own, 1), rows(teacher, shared.teacher, 1).float()
            if other.shape[2:] != own.shape[2:]:
                other = F.interpolate(other, size=own.shape[2:], mode="bilinear", align_corners=False)
            return {"pixels": class_wise(own, other, temperature)}

    def pseudo_labels(self, output: Tensor, *, confidence: float) -> PseudoLabels:
        """See :func:`heads.pseudo_labels.confident_classes`."""
        with torch.autocast(output.device.type, enabled=False):
            return confident_classes(output, confidence)

    def pseudo_loss(self, output: Tensor | DeepLogits, labels: PseudoLabels) -> dict[str, Tensor]:
        """``{"pixels"}``: :func:`heads.pseudo_labels.soft_cross_entropy`."""
        logits = output.logits if isinstance(output, DeepLogits) else output
        with torch.autocast(logits.device.type, enabled=False):
            return {"pixels": soft_cross_entropy(logits, labels.targets)}

    def predict(self, output: Tensor | DeepLogits, context: Context) -> Tensor:
        """(B, K, H', W') logits -> (B, stride * H', stride * W') uint8 classes in input pixels.

        An input whose sides are multiples of the stride has exactly that size; :meth:`class_maps` serves any size.
        """
        logits = output.logits if isinstance(output, DeepLogits) else output
        size = (logits.shape[2] * self.stride, logits.shape[3] * self.stride)
        plain = Geometry(original=size, canvas=size)
        return torch.stack([class_map(scores, plain) for scores in logits])

    def class_maps(self, output: Tensor, geometries: Sequence[Geometry]) -> list[Tensor]:
        """Logits or probabilities (B, K, H', W') -> each image's (h, w) uint8 classes in its ORIGINAL pixels."""
        return [class_map(scores, geometry) for scores, geometry in zip(output, geometries, strict=True)]


def read_levels(levels: Sequence[str], merge: str) -> tuple[str, ...]:
    """The levels that a head over `levels` reads.

    Raises:
        UserError: an unknown rule, or levels that do not rise.
    """
    if merge not in MERGES:
        raise UserError(f"merge={merge!r} of a semantic head is unknown; use one of {', '.join(MERGES)}")
    numbers = [int(level[1:]) if level[:1] == "P" and level[1:].isdigit() else None for level in levels]
    if not numbers or None in numbers or numbers != sorted(set(numbers)):  # type: ignore[type-var]
        raise UserError(f"levels={list(levels)} of a semantic head must be levels such as P3 to P9, finest first")
    return tuple(levels[:1]) if merge == "finest" else tuple(levels)
