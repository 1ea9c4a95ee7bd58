"""The kinds of heads: how each is planned from a scaling, built, and given other classes. One entry a kind in :data:`KINDS`.

A head of the user's own is of the kind :data:`EXTERNAL`. Its class is called with ``channels`` (level name -> width),
``num_classes`` and its options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import nn

from backbones.fields import as_tuples
from backbones.fields import build as build_dataclass
from backbones.spec import AnyBackboneSpec
from effdet.model.spec import EXTERNAL, HeadSpec
from effdet.necks import NeckSpec
from effdet.plugins import TARGET, build, instantiate, is_target, locate
from effdet.scaling import REPEATS, DetectorRow
from heads.classification import ClassificationHead
from heads.detection import AnchorSpec, DetectionHead, DetectionLoss, DetectionOptions, PostProcess
from heads.detection.contracts import check_box_loss, check_class_loss, check_matcher
from heads.embedding import EmbeddingHead, EmbeddingOptions
from heads.pooled import PooledOptions
from heads.protocol import Head, check_head
from heads.semantic import AuxiliaryHead, AuxiliaryOptions, SemanticHead, SemanticOptions, read_levels
from heads.semantic_losses import SemanticLoss
from heads.structures import ClassTable, UserError

FINE = ("P2", "P3", "P4", "P5", "P6", "P7")
"""EfficientDet's pyramid for segmentation (arXiv 1911.09070, section 5.2)."""
COARSE = ("P3", "P4", "P5", "P6", "P7", "P8", "P9")
"""The light design's."""


@dataclass(frozen=True)
class HeadConfig:
    """A head, and what it asks of the neck."""

    spec: HeadSpec
    levels: tuple[str, ...] = ()
    """That the neck spans for it."""
    reads: tuple[str, ...] = ()
    """Of the neck's outputs."""


@dataclass(frozen=True)
class Scaled:
    """What the heads of a model are planned from."""

    backbone: AnyBackboneSpec
    heads: tuple[str, ...]
    """Names of all heads of the model."""
    row: DetectorRow | None = None
    """None where no head reads a neck."""
    neck: NeckSpec | None = None
    """Its width and depth; the levels follow from the heads."""

    @property
    def pyramid(self) -> tuple[DetectorRow, NeckSpec]:
        assert self.row is not None and self.neck is not None, "a head on the pyramid is planned with a neck"
        return self.row, self.neck


Changes = dict[str, Any]
"""A user's options of one head; those that are null are left out."""


def _detection(scaled: Scaled, changes: Changes) -> HeadConfig:
    row, _ = scaled.pyramid
    anchors = {"scale": row.anchor_scale, "scales_per_octave": 3, "aspects": [list(aspect) for aspect in row.aspects]}
    sections = {name: passed(changes.pop(name, None)) for name in ("anchors", "loss", "postprocess")}
    options = {
        "levels": list(row.levels),
        "repeats": row.repeats,
        "activation": scaled.backbone.conventions.activation,
        "padding": row.padding,
        "redundant_bias": row.redundant_bias,
        **sections,
        "anchors": anchors | _anchors(sections["anchors"]),
    }
    options |= changes
    levels = tuple(options["levels"])
    return HeadConfig(HeadSpec("detection", options), levels, levels)


def _anchors(changes: dict[str, Any]) -> dict[str, Any]:
    """A shape that is one number, width : height, as the pair of sides whose area is one."""
    if "aspects" not in changes:
        return changes
    pairs = []
    for aspect in changes["aspects"]:
        sides = [aspect**0.5, aspect**-0.5] if isinstance(aspect, int | float) and aspect > 0 else aspect
        if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(float(side) > 0 for side in sides):
            raise UserError(f"anchors.aspects holds {aspect!r}; a shape is its width : height, such as 0.5, above 0")
        pairs.append([float(side) for side in sides])
    if not pairs:
        raise UserError("anchors.aspects is empty; give at least one shape, such as [1.0]")
    return changes | {"aspects": pairs}


def _semantic(scaled: Scaled, changes: Changes) -> HeadConfig:
    """Alone, EfficientDet's design; beside detection the light one: a neck of a detector's width that also works at
    stride 4 would cost more than all the rest."""
    row, neck = scaled.pyramid
    fine = scaled.heads == ("semantic",)
    auxiliary, loss = passed(changes.pop("auxiliary", None)), passed(changes.pop("loss", None))
    options = {
        "levels": list(FINE if fine else COARSE),
        "merge": "finest" if fine else "sum",
        "activation": scaled.backbone.conventions.activation,
        "padding": row.padding,
    } | changes
    levels, merge = tuple(options["levels"]), options["merge"]
    finest = merge == "finest"
    options = {
        "channels": 2 * neck.channels if finest else neck.channels,
        "repeats": REPEATS if finest else 1,
    } | options
    reads = read_levels(levels, merge)
    if (deep := auxiliary.get("level")) is not None:
        reads += _auxiliary_level(deep, levels)
        options["auxiliary"] = auxiliary
    if loss:
        options["loss"] = loss
    return HeadConfig(HeadSpec("semantic", options), levels, reads)


def _auxiliary_level(level: str, levels: tuple[str, ...]) -> tuple[str, ...]:
    """The neck's level that an auxiliary loss reads; none where it is the backbone's."""
    if level in levels:
        return (level,)
    if level in ("C2", "C3", "C4", "C5"):
        return ()
    raise UserError(f"auxiliary.level={level!r} must be one of C2 to C5 or of the head's levels {', '.join(levels)}")


def _classification(scaled: Scaled, changes: Changes) -> HeadConfig:
    backbone = scaled.backbone
    own = {"head_channels": backbone.head_channels, "dropout": backbone.dropout}
    return HeadConfig(HeadSpec("classification", own | asdict(backbone.conventions) | changes))


def _embedding(scaled: Scaled, changes: Changes) -> HeadConfig:
    return HeadConfig(HeadSpec("embedding", {**_classification(scaled, {}).spec.options, "dropout": 0.0} | changes))


def passed(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that are set: null means "as the scaling says"."""
    return {key: value for key, value in (options or {}).items() if value is not None}


def _build_detection(options: DetectionOptions, widths: Mapping[str, int], classes: ClassTable) -> DetectionHead:
    anchors, count = options.anchors, len(classes)
    with torch.device("cpu"):  # with numbers, also where the model is built without
        if options.matcher is not None:
            check_matcher(options.matcher, anchors, count)
        if options.class_loss is not None:
            check_class_loss(options.class_loss, anchors, count)
        if options.box_loss is not None:
            check_box_loss(options.box_loss, anchors)
    head = DetectionHead(widths[options.levels[0]], count, options)
    head.named_classes.copy_(torch.tensor(classes.named))
    return head


def _build_semantic(options: SemanticOptions, widths: Mapping[str, int], classes: ClassTable) -> SemanticHead:
    level, count = options.auxiliary.level, len(classes)
    auxiliary = None if level is None else AuxiliaryHead(widths[level], count, options)
    return SemanticHead(widths[options.levels[0]], count, options, auxiliary=auxiliary)


@dataclass(frozen=True)
class HeadKind:
    """All that the model side knows of a kind of head."""

    plan: Callable[[Scaled, Changes], HeadConfig]
    options: type
    """Dataclass of what the head is built with beside widths and classes."""
    build: Callable[[Any, Mapping[str, int], ClassTable], nn.Module]
    """(`options`, widths of the levels, classes) -> the head."""
    task: str
    """Name of the task that has this head and no other."""
    default_classes: int
    """Number of classes where nothing says it."""
    sections: Mapping[str, type] = field(default_factory=dict)
    """Those of `options` that are dataclasses themselves."""
    on_pyramid: bool = True
    """Whether it reads a neck."""


KINDS: Mapping[str, HeadKind] = {
    "detection": HeadKind(
        _detection,
        DetectionOptions,
        _build_detection,
        "detection",
        default_classes=90,
        sections={"anchors": AnchorSpec, "loss": DetectionLoss, "postprocess": PostProcess},
    ),
    "semantic": HeadKind(
        _semantic,
        SemanticOptions,
        _build_semantic,
        "segmentation",
        default_classes=19,
        sections={"auxiliary": AuxiliaryOptions, "loss": SemanticLoss},
    ),
    "classification": HeadKind(
        _classification,
        PooledOptions,
        lambda options, widths, classes: ClassificationHead(widths["C5"], len(classes), options),
        "classification",
        default_classes=1000,
        on_pyramid=False,
    ),
    "embedding": HeadKind(
        _embedding,
        EmbeddingOptions,
        lambda options, widths, classes: EmbeddingHead(widths["C5"], len(classes), options),
        "embedding",
        default_classes=1000,
        on_pyramid=False,
    ),
}


TASK_HEADS: Mapping[str, tuple[str, ...]] = {kind.task: (name,) for name, kind in KINDS.items()} | {
    "driving": ("detection", "semantic"),
}
"""The heads of each task, in the order in which the model runs them."""


def build_head(name: str, spec: HeadSpec, widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    """The head of `spec` on levels of `widths` channels.

    Raises:
        UserError: the kind or an option is unknown; a head of the user's own cannot be found or built, or reads a level that
            is not there.
    """
    if spec.kind == EXTERNAL:
        return _build_external(name, spec, widths, classes)
    if (kind := KINDS.get(spec.kind)) is None:
        raise UserError(f"head kind {spec.kind!r} is unknown; use one of {', '.join(KINDS)}")
    return kind.build(_options(kind, spec.options, f"head.{name}"), widths, classes)


def _options(kind: HeadKind, values: Mapping[str, Any], what: str) -> Any:
    """The typed options of plain `values`, in which targets are built."""
    typed = as_tuples(build({key: value for key, value in values.items() if key not in kind.sections}))
    for name, section in kind.sections.items():
        given = as_tuples(passed(values.get(name)))
        typed[name] = build_dataclass(section, given, what=f"{what}.{name}", error=UserError)
    return build_dataclass(kind.options, typed, what=what, error=UserError)


# -------------------------------------------------------------------------------------------------- heads of the user's own


def plan_external(name: str, changes: Changes) -> HeadConfig:
    """The head of a ``_target_``.

    Its levels are its option ``in_levels``, else the class's attribute, else the default of its argument of that name.

    Raises:
        UserError: the target cannot be found, or nothing says which levels it reads.
    """
    target, kit = changes[TARGET], changes.get("kit")
    if kit is not None and not is_target(kit):
        raise UserError(f"head.{name}.kit={kit!r} must be a mapping with a {TARGET}")
    options = {key: value for key, value in changes.items() if key not in (TARGET, "kit")}
    levels = options.get("in_levels", _class_levels(locate(target)))
    if not levels or isinstance(levels, str) or not all(isinstance(level, str) for level in levels):
        raise UserError(
            f"head.{name}: {target} does not say which levels it reads; give its class in_levels = ('P3', 'P4', 'P5'), say, "
            f"or set head.{name}.in_levels=[P3,P4,P5]"
        )
    pyramid = tuple(level for level in levels if level.startswith("P"))
    return HeadConfig(HeadSpec(EXTERNAL, options, target, kit), pyramid, pyramid)


def _class_levels(cls: Any) -> Any:
    if (levels := getattr(cls, "in_levels", None)) is not None and not isinstance(levels, property):
        return levels
    parameter = inspect.signature(cls).parameters.get("in_levels") if callable(cls) else None
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _build_external(name: str, spec: HeadSpec, widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    config = {TARGET: spec.target, **spec.options}
    head = instantiate(config, channels=dict(widths), num_classes=len(classes))
    if not isinstance(head, nn.Module):
        raise UserError(
            f"head.{name}.{TARGET}={spec.target}: must make a torch.nn.Module, and made a {type(head).__name__}"
        )
    check_head(name, head)
    if missing := [level for level in cast(Head, head).in_levels if level not in widths]:
        raise UserError(
            f"head.{name} reads {', '.join(missing)}, and there are {', '.join(widths)}: set head.{name}.in_levels"
        )
    if spec.kit is not None:
        head.kit = spec.kit  # type: ignore[assignment]
    return head
