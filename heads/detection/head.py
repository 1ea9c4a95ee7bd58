"""The detection head: class net and box net, shared by all levels (EfficientDet figure 3).

Each net is `repeats` times [separable convolution, BatchNorm, activation] and a separable convolution that predicts. All
levels share the convolutions and none share a BatchNorm, since their statistics differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import Activation, LayerConventions, SeparableConv2d, convolution3x3
from backbones.memory_efficient import norm_act
from heads.detection.anchors import AnchorSpec, Size
from heads.detection.anchors import anchors as anchors_of
from heads.detection.boxes import aligned_iou, decode
from heads.detection.distribution import WEIGHT, distribution_focal_loss, expected_deltas, start_at_anchor
from heads.detection.losses import (
    BOX_LOSSES,
    CLASS_LOSSES,
    MATCHERS,
    BoxLoss,
    ClassLoss,
    DetectionLoss,
    box_loss,
    normalizer,
)
from heads.detection.matcher import Assignment, Matcher, MatchInput
from heads.detection.postprocess import PostProcess, postprocess
from heads.detection.soft_targets import pseudo_labels, soft_target_loss, soft_targets
from heads.distillation import rows
from heads.fields import check_fields
from heads.prior import PRIOR, start_at_prior
from heads.protocol import Context, FoldNorm, SharedClasses
from heads.pseudo_labels import PseudoLabels
from heads.structures import Detections, Targets, UserError


@dataclass(frozen=True)
class DetectionOutput:
    """What the network says about a batch, before any decision. A counts anchors as :func:`anchors` lists them."""

    class_logits: Tensor
    """(B, A, K)."""
    box_deltas: Tensor
    """(B, A, 4) ty, tx, th, tw relative to the anchors."""
    anchors: Tensor
    """(A, 4) float32 xyxy, input pixels. Shared: not to be written to."""
    image_size: Size
    """(height, width) of the network input."""
    feature_sizes: tuple[Size, ...]
    """(height, width) of each level."""
    box_bins: Tensor | None = None
    """(B, A, 4, N) logits of the distances l, t, r, b (:mod:`heads.detection.distribution`), of which `box_deltas` are the
    expectation; None for a head that predicts deltas."""


@dataclass(frozen=True)
class DetectionOptions(LayerConventions):
    """Of a detection head; the defaults are the paper's."""

    levels: tuple[str, ...] = ("P3", "P4", "P5", "P6", "P7")
    """Names of the features that it reads, finest first."""
    repeats: Annotated[int, "0.."] = 3
    """Convolutions before the predicting one: 3 for D0, up to 5."""
    separable: bool = True
    redundant_bias: bool = True
    """A bias on convolutions that a BatchNorm follows: without effect, but in the official weights."""
    bins: Annotated[int, "2..128"] | None = None
    """Box sides as distributions over so many distances, with distribution focal loss; None predicts deltas."""
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    loss: DetectionLoss = field(default_factory=DetectionLoss)
    postprocess: PostProcess = field(default_factory=PostProcess)
    matcher: Matcher | None = None
    """Which anchor answers for which box; None is the one that `loss` names."""
    class_loss: ClassLoss | None = None
    """None is the focal loss of `loss`."""
    box_loss: BoxLoss | None = None
    """None is the one that `loss` names. Your own has weight 1 where `loss` gives none."""

    def __post_init__(self) -> None:
        check_fields(self, "head.detection.")
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise UserError(f"levels of a detection head must be distinct names such as P3 to P7, got {self.levels}")
        if self.bins is None and self.loss.dfl_weight is not None:
            raise UserError(
                f"loss.dfl_weight={self.loss.dfl_weight:g}: only a head with bins has a distribution focal loss; set "
                "head.detection.bins=17, say, or leave it out"
            )


@dataclass(frozen=True)
class Goal:
    """What each anchor is trained on; nothing in it carries a gradient."""

    index: Tensor
    """(B, A) int64: row of the anchor's box in ``targets.boxes``, -1 for background."""
    positive: Tensor
    """(B, A) bool: anchors that answer for a box."""
    boxes: Tensor
    """(B, A, 4) float32 xyxy, input pixels: the box of a positive anchor; any valid one for others."""
    classes: Tensor
    """(B, A) int64: its class, -1 for background."""
    score: Tensor | None
    """(B, A) float32 in 0…1: soft targets of positive anchors; None where nothing reads them."""
    labelled: Tensor
    """(B,) float32: 1 for each image that its set labels with boxes, 0 for others."""


class PredictionNet(nn.Module):
    """Features of all levels -> (B, cells, `outputs`), level by level, row by row.

    `convs[r]` is shared over levels; `norms[r][level]` is the level's own.
    """

    def __init__(self, channels: int, outputs: int, options: DetectionOptions) -> None:
        super().__init__()
        self.levels = options.levels
        layer = partial(convolution3x3, channels, separable=options.separable, padding=options.padding)
        self.convs = nn.ModuleList(layer(channels, bias=options.redundant_bias) for _ in range(options.repeats))
        self.norms = nn.ModuleList(
            nn.ModuleDict({level: options.norm(channels) for level in options.levels}) for _ in range(options.repeats)
        )
        self.act = Activation(options.activation)
        self.predict = layer(outputs, bias=True)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        levels = []
        for level in self.levels:
            x = features[level]
            for conv, norm in self.layers(level):
                x = norm_act(norm, self.act, conv(x))
            levels.append(x)
        if not isinstance(self.predict, SeparableConv2d):
            return torch.cat([_cells(self.predict(x)) for x in levels], dim=1)
        # A 1x1 convolution is a matrix product over cells. As one product over the cells of all levels it writes the logits
        # straight to where they stay; a convolution for each level would have them copied together, the largest tensor here.
        cells = torch.cat([_cells(self.predict.depthwise(x)) for x in levels], dim=1)  # (B, cells, C)
        pointwise = self.predict.pointwise
        return F.linear(cells, pointwise.weight.flatten(1), pointwise.bias)

    @property
    def last(self) -> nn.Conv2d:
        """The convolution whose output channels are the predictions."""
        predict = self.predict.pointwise if isinstance(self.predict, SeparableConv2d) else self.predict
        assert isinstance(predict, nn.Conv2d)
        return predict

    def layers(self, level: str) -> list[tuple[nn.Module, nn.Module]]:
        """What `level` passes through before each activation: the shared convolution and the level's own BatchNorm."""
        return [(conv, norms.get_submodule(level)) for conv, norms in zip(self.convs, self.norms, strict=True)]


class FoldedNet(PredictionNet):
    """A prediction net whose BatchNorms have gone into the convolutions, which therefore are each level's own.

    Args:
        net: the net to fold, in evaluation mode; it is left as it is but shares its depthwise and predicting layers.
        fold_norm: ``(conv, norm) -> conv`` that folds one BatchNorm.
    """

    def __init__(self, net: PredictionNet, fold_norm: FoldNorm) -> None:
        nn.Module.__init__(self)
        self.levels, self.act, self.predict = net.levels, net.act, net.predict
        self.folded = nn.ModuleDict()
        for level in net.levels:
            own = nn.ModuleList()
            for conv, norms in zip(net.convs, net.norms, strict=True):
                norm = norms.get_submodule(level)
                if isinstance(conv, SeparableConv2d):
                    own.append(nn.Sequential(conv.depthwise, fold_norm(conv.pointwise, norm)))  # type: ignore[arg-type]
                else:
                    own.append(fold_norm(conv, norm))  # type: ignore[arg-type]
            self.folded[level] = own

    def layers(self, level: str) -> list[tuple[nn.Module, nn.Module]]:
        return [(conv, nn.Identity()) for conv in self.folded.get_submodule(level).children()]


class DetectionHead(nn.Module):
    """Anchor-based detection on a pyramid: forward, loss and predict.

    Args:
        channels: of every level.
        num_classes: K.
        options: the paper's by default.

    Attributes:
        named_classes: (K,) bool buffer, not saved: False for logits that stand for no class and so never detect.
        postprocess: settings of :meth:`predict`; may be replaced at any time.
    """

    in_heads: Sequence[str] = ()
    class_layers: Sequence[str] = ("class_net.predict",)
    prior: float | None = PRIOR
    pseudo_terms: Sequence[str] = ("class", "box")
    named_classes: Tensor

    def __init__(self, channels: int, num_classes: int, options: DetectionOptions | None = None) -> None:
        super().__init__()
        options = options or DetectionOptions()
        for name, value in (("channels", channels), ("num_classes", num_classes)):
            if value < 1:
                raise UserError(f"{name} of a detection head must be at least 1, got {value}")
        self.channels, self.num_classes = channels, num_classes
        self.in_levels: Sequence[str] = options.levels
        self.anchor_spec = anchors = options.anchors
        self.loss_settings = settings = options.loss
        if (weights := settings.class_weights) is not None:
            if len(weights) != num_classes:
                raise UserError(f"loss.class_weights has {len(weights)} numbers for {num_classes} classes")
            if options.class_loss is not None:
                raise UserError("loss.class_weights is for the losses of loss.classes; yours may weigh classes itself")
        self.matcher = options.matcher or MATCHERS[settings.matcher](settings)
        self.class_loss = options.class_loss or CLASS_LOSSES[settings.classes](settings)
        self.box_loss = options.box_loss or BOX_LOSSES[settings.box](settings)
        self.box_weight = 1.0 if options.box_loss and settings.box_weight is None else settings.box_factor
        self.postprocess = options.postprocess
        self.bins = options.bins
        self.dfl_weight = WEIGHT if settings.dfl_weight is None else settings.dfl_weight
        # Output channel: anchor * K + class, and anchor * 4 + (ty, tx, th, tw) or (anchor * 4 + (l, t, r, b)) * N + bin.
        self.class_net = PredictionNet(channels, num_classes * anchors.per_cell, options)
        self.box_net = PredictionNet(channels, 4 * anchors.per_cell * (options.bins or 1), options)
        self.register_buffer("named_classes", torch.ones(num_classes, dtype=torch.bool), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as the official code does: N(0, 1 / fan_in), or N(0, 0.01²) where not separable.

        The layer that predicts classes starts at its prior instead (:mod:`heads.prior`).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                separable = module.groups > 1 or module.kernel_size == (1, 1)
                nn.init.normal_(module.weight, std=fan_in**-0.5 if separable else 0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        start_at_prior(self.class_net.last, self.prior)
        if self.bins is not None:
            start_at_anchor(self.box_net.last, self.bins)

    def forward(self, features: Mapping[str, Tensor], context: Context) -> DetectionOutput:
        """Raw outputs for `features`, level name -> (B, channels, h, w)."""
        missing = [level for level in self.in_levels if level not in features]
        if missing:
            raise UserError(
                f"the detection head reads {', '.join(self.in_levels)}, but there is no {', '.join(missing)} "
                f"among {', '.join(features)}: let the neck make these levels"
            )
        sizes = tuple((features[level].shape[2], features[level].shape[3]) for level in self.in_levels)
        class_logits, boxes = self.class_net(features), self.box_net(features)
        batch = class_logits.shape[0]
        bins = None if self.bins is None else boxes.view(batch, -1, 4, self.bins)  # (B, cells, 36 N) -> (B, A, 4, N)
        return DetectionOutput(
            class_logits=class_logits.view(batch, -1, self.num_classes),  # (B, cells, 9 K) -> (B, A, K)
            box_deltas=boxes.view(batch, -1, 4) if bins is None else expected_deltas(bins),
            anchors=anchors_of(sizes, context.image_size, self.anchor_spec, class_logits.device),
            image_size=context.image_size,
            feature_sizes=sizes,
            box_bins=bins,
        )

    def fold(self, fold_norm: FoldNorm) -> None:
        """Fold every BatchNorm into the convolution before it. The head can only predict after it."""
        self.class_net, self.box_net = FoldedNet(self.class_net, fold_norm), FoldedNet(self.box_net, fold_norm)

    def loss(self, output: DetectionOutput, targets: Targets, context: Context) -> dict[str, Tensor]:
        """``{"class", "box"}``: weighted float32 scalars, both connected to the network even if no image has a box; with bins
        ``"dfl"`` too.

        Images of a set that labels no boxes (`targets.has_boxes` False) add nothing.
        """
        settings = self.loss_settings
        with torch.autocast(output.class_logits.device.type, enabled=False):
            goal = self.goal(output, targets, context)
            divisor = self.divisor(goal)
            class_sum = self.class_loss(output.class_logits, goal.classes, score=goal.score, weight=goal.labelled)
            score = goal.score if settings.box_by_score else None
            box_sum = box_loss(output.box_deltas, output.anchors, goal.boxes, goal.positive, self.box_loss, score=score)
            terms = {
                "class": class_sum * settings.class_weight / divisor,
                "box": box_sum * self.box_weight / divisor,
            }
            if output.box_bins is not None:
                dfl = distribution_focal_loss(output.box_bins, output.anchors, goal.boxes, goal.positive, score=score)
                terms["dfl"] = dfl * self.dfl_weight / divisor
            return terms

    @torch.no_grad()
    def goal(self, output: DetectionOutput, targets: Targets, context: Context) -> Goal:
        """What each anchor is trained on."""
        boxes, labels, labelled = _trained_on(targets, output.class_logits)
        found = context.assignment or self.match(output, boxes, labels, context)
        positive, row = found.index >= 0, found.index.clamp(min=0)
        if boxes.shape[1] == 0:  # nothing to gather from
            own, classes = output.anchors.expand(len(row), -1, -1), found.index
        else:
            own = boxes.gather(1, row[..., None].expand(-1, -1, 4))
            classes = torch.where(positive, labels.gather(1, row), -1)
        score = found.score
        if score is None and self.reads_score:
            predicted = decode(output.anchors, output.box_deltas.float())
            score = aligned_iou(predicted, own).nan_to_num(0.0).clamp(0, 1)
        return Goal(found.index, positive, own, classes, score, labelled)

    def divisor(self, goal: Goal) -> Tensor:
        """What the sums of a step are divided by, see :func:`normalizer`."""
        if self.loss_settings.normalizer != "score":
            return normalizer(goal.positive.sum(), self.loss_settings.normalizer)
        assert goal.score is not None
        return normalizer(torch.where(goal.positive, goal.score, 0.0).sum())

    @property
    def reads_score(self) -> bool:
        """Whether the loss needs a soft target for each positive anchor."""
        settings = self.loss_settings
        return getattr(self.class_loss, "reads_score", False) or settings.box_by_score or settings.normalizer == "score"

    @property
    def counts_predictions(self) -> bool:
        """Whether what :meth:`loss` counts depends on the predictions."""
        return getattr(self.matcher, "reads_predictions", True) or self.loss_settings.normalizer == "score"

    def count(self, output: DetectionOutput, targets: Targets, context: Context) -> None:
        """What :meth:`loss` counts, where only the targets decide it (:mod:`heads.ranks`).

        Args:
            output: of the batch where :attr:`counts_predictions`, else of any images of the same size: only its anchors are
                read.
            targets: of the batch to count.
            context: of `output`.
        """
        with torch.autocast(output.class_logits.device.type, enabled=False):
            self.divisor(self.goal(output, targets, context))

    def labelled(self, targets: Targets) -> bool | Tensor:
        """Whether an image of the batch is labelled with boxes, if only with none: a bool, or () bool."""
        if targets.boxes is None:
            return False
        return True if targets.has_boxes is None else targets.has_boxes.any()

    def assign(self, output: DetectionOutput, targets: Targets, context: Context) -> Assignment:
        """Which row of ``targets.boxes`` each anchor answers for, and its soft target where the loss reads one."""
        with torch.autocast(output.class_logits.device.type, enabled=False):
            goal = self.goal(output, targets, context)
            return Assignment(goal.index, goal.score)

    def match(self, output: DetectionOutput, boxes: Tensor, labels: Tensor, context: Context) -> Assignment:
        """Which of `boxes` (B, M, 4), with `labels` (B, M), each anchor answers for."""
        with torch.no_grad():
            return self.matcher(
                MatchInput(
                    anchors=output.anchors,
                    boxes=boxes,
                    labels=labels,
                    class_logits=output.class_logits.detach(),
                    box_deltas=output.box_deltas.detach(),
                    cells=[height * width for height, width in output.feature_sizes],
                    per_cell=self.anchor_spec.per_cell,
                    progress=context.progress,
                )
            )

    def cannot_learn_from(self, teacher: nn.Module, shared: SharedClasses) -> str | None:
        """See :class:`heads.protocol.Distils`: logits and boxes mean the same only where the anchors do."""
        if not isinstance(teacher, DetectionHead):
            return f"it is a {type(teacher).__name__}"
        if not shared.own:
            return "no class has the same name"
        if tuple(teacher.in_levels) != tuple(self.in_levels):
            return f"it reads {', '.join(teacher.in_levels)}, this model's {', '.join(self.in_levels)}"
        if teacher.anchor_spec != self.anchor_spec:
            return "its anchors differ (head.detection.anchors)"
        return None

    def distil(
        self, output: DetectionOutput, teacher: DetectionOutput, shared: SharedClasses, *, temperature: float
    ) -> dict[str, Tensor]:
        """``{"class", "box"}`` of :func:`heads.detection.soft_targets.soft_target_loss`; sigmoids take no temperature."""
        with torch.autocast(output.class_logits.device.type, enabled=False):
            logits = rows(teacher.class_logits, shared.teacher, 2)
            targets = soft_targets(logits, teacher.box_deltas, teacher.anchors)
            own = rows(output.class_logits, shared.own, 2)
            return soft_target_loss(own, output.box_deltas, output.anchors, targets)

    def pseudo_labels(self, output: DetectionOutput, *, confidence: float) -> PseudoLabels:
        """Dense, of the anchors that score highest; `confidence` has no part in it. See :mod:`heads.detection.soft_targets`."""
        logits = output.class_logits.masked_fill(~self.named_classes, -torch.inf)
        with torch.autocast(logits.device.type, enabled=False):
            return pseudo_labels(logits, output.box_deltas, output.anchors)

    def pseudo_loss(self, output: DetectionOutput, labels: PseudoLabels) -> dict[str, Tensor]:
        """``{"class", "box"}`` of :func:`heads.detection.soft_targets.soft_target_loss`."""
        with torch.autocast(output.class_logits.device.type, enabled=False):
            return soft_target_loss(output.class_logits, output.box_deltas, output.anchors, labels.targets)

    def predict(self, output: DetectionOutput, context: Context) -> Detections:
        """Detections in input pixels, not clipped to the canvas."""
        return postprocess(
            output.class_logits, output.box_deltas, output.anchors, self.postprocess, named=self.named_classes
        )


def _trained_on(targets: Targets, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, M, 4), labels (B, M), and (B,) float32: 1 for each image that its set labels with boxes, 0 for others."""
    batch, device = len(logits), logits.device
    if targets.boxes is None or targets.labels is None:
        empty = torch.zeros((batch, 0, 4), device=device)
        return empty, torch.zeros((batch, 0), dtype=torch.int64, device=device), torch.zeros(batch, device=device)
    if targets.has_boxes is None:
        return targets.boxes.float(), targets.labels, torch.ones(batch, device=device)
    labels = torch.where(targets.has_boxes[:, None], targets.labels, -1)
    return targets.boxes.float(), labels, targets.has_boxes.float()


def _cells(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C), a view."""
    return x.flatten(2).transpose(1, 2)
