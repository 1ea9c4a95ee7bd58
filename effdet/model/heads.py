"""The kinds of heads: how each is planned from a scaling, built, and given other classes. One entry a kind in :data:`KINDS`.

A head of the user's own is of the kind :data:`EXTERNAL`. Its class is called with ``channels`` (level name -> width),
``num_classes`` and its options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from backbones.spec import AnyBackboneSpec
from effdet.model.spec import EXTERNAL, HeadSpec
from effdet.necks import NeckSpec
from effdet.plugins import TARGET, build, instantiate, is_target, locate
from effdet.scaling import REPEATS, DetectorRow
from heads.classification import ClassificationHead
from heads.detection import AnchorSpec, DetectionHead, DetectionLoss, PostProcess
from heads.embedding import EmbeddingHead
from heads.protocol import Head, check_head
from heads.semantic import AuxiliaryHead, SemanticHead, read_levels
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
    options = {
        "levels": list(row.levels),
        "repeats": row.repeats,
        "activation": scaled.backbone.activation,
        "padding": row.padding,
        "redundant_bias": row.redundant_bias,
        "anchors": anchors | _anchors(passed(changes.pop("anchors", None))),
        "loss": passed(changes.pop("loss", None)),
        "postprocess": passed(changes.pop("postprocess", None)),
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
        "activation": scaled.backbone.activation,
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
    options = {
        "head_channels": backbone.head_channels,
        "dropout": backbone.dropout,
        "activation": backbone.activation,
        "padding": backbone.padding,
        "norm_eps": backbone.norm_eps,
        "norm_momentum": backbone.norm_momentum,
    }
    return HeadConfig(HeadSpec("classification", options | changes))


def _embedding(scaled: Scaled, changes: Changes) -> HeadConfig:
    return HeadConfig(HeadSpec("embedding", {**_classification(scaled, {}).spec.options, "dropout": 0.0} | changes))


def passed(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that are set: null means "as the scaling says"."""
    return {key: value for key, value in (options or {}).items() if value is not None}


def build_detection(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> DetectionHead:
    levels = tuple(options.pop("levels"))
    anchors = dict(options.pop("anchors"))
    anchors["aspects"] = tuple((float(x), float(y)) for x, y in anchors["aspects"])
    head = DetectionHead(
        widths[levels[0]],
        len(classes),
        levels=levels,
        anchors=AnchorSpec(**anchors),
        loss=DetectionLoss(**options.pop("loss", {})),
        postprocess=PostProcess(**options.pop("postprocess", {})),
        **build(options),
    )
    head.named_classes.copy_(torch.tensor(classes.named))
    return head


def _build_semantic(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> SemanticHead:
    side = passed(options.pop("auxiliary", {}))
    layers = {key: options[key] for key in ("activation", "padding") if key in options}
    auxiliary = AuxiliaryHead(widths[side["level"]], len(classes), **side, **layers) if side.get("level") else None
    loss = SemanticLoss(**options.pop("loss", {}))
    levels = options["levels"]
    return SemanticHead(widths[levels[0]], len(classes), auxiliary=auxiliary, loss=loss, **options)


def _build_classification(
    options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable
) -> ClassificationHead:
    return ClassificationHead(widths["C5"], len(classes), **options)


def _build_embedding(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> EmbeddingHead:
    return EmbeddingHead(widths["C5"], len(classes), **options)


@dataclass(frozen=True)
class HeadKind:
    """All that the model side knows of a kind of head."""

    plan: Callable[[Scaled, Changes], HeadConfig]
    build: Callable[[dict[str, Any], Mapping[str, int], ClassTable], nn.Module]
    """(options, widths of the levels, classes) -> the head."""
    class_layers: tuple[str, ...]
    """Modules whose output channels are classes."""
    default_classes: int
    """Number of classes where nothing says it."""
    on_pyramid: bool = True
    """Whether it reads a neck."""


KINDS: Mapping[str, HeadKind] = {
    "detection": HeadKind(_detection, build_detection, ("class_net.predict",), 90),
    "semantic": HeadKind(_semantic, _build_semantic, ("classifier", "auxiliary.classifier"), 19),
    "classification": HeadKind(_classification, _build_classification, ("classifier",), 1000, on_pyramid=False),
    "embedding": HeadKind(_embedding, _build_embedding, ("prototypes",), 1000, on_pyramid=False),
}


def build_head(name: str, spec: HeadSpec, widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    """The head of `spec` on levels of `widths` channels.

    Raises:
        UserError: the kind is unknown; a head of the user's own cannot be found or built, or reads a level that is not there.
    """
    if spec.kind == EXTERNAL:
        return _build_external(name, spec, widths, classes)
    if spec.kind not in KINDS:
        raise UserError(f"head kind {spec.kind!r} is unknown; use one of {', '.join(KINDS)}")
    return KINDS[spec.kind].build(dict(spec.options), widths, classes)


def class_layers(spec: HeadSpec, head: nn.Module) -> Sequence[str]:
    """Modules of `head` whose output channels are classes; a head of the user's own names them in ``class_layers``."""
    return KINDS[spec.kind].class_layers if spec.kind in KINDS else getattr(head, "class_layers", ())


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
