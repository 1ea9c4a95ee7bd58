"""From a scaling and a user's changes to the description of each head, and the pyramid levels that it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backbones.spec import AnyBackboneSpec
from effdet.model.spec import HeadSpec
from effdet.necks import NeckSpec
from effdet.scaling import REPEATS, DetectorRow
from heads.semantic import read_levels
from heads.structures import UserError

FINE = ("P2", "P3", "P4", "P5", "P6", "P7")
"""EfficientDet's pyramid for segmentation (arXiv 1911.09070, section 5.2)."""
COARSE = ("P3", "P4", "P5", "P6", "P7", "P8", "P9")
"""The light design's."""


@dataclass(frozen=True)
class HeadPlan:
    """A head, and what it asks of the neck."""

    spec: HeadSpec
    levels: tuple[str, ...] = ()
    """That the neck spans for it."""
    reads: tuple[str, ...] = ()
    """Of the neck's outputs."""


def _detection(
    row: DetectorRow, trunk: AnyBackboneSpec, neck: NeckSpec, heads: tuple[str, ...], changes: dict[str, Any]
) -> HeadPlan:
    anchors = {"scale": row.anchor_scale, "octaves": 3, "aspects": [list(aspect) for aspect in row.aspects]}
    options = {
        "levels": list(row.levels),
        "repeats": row.repeats,
        "activation": trunk.activation,
        "padding": row.padding,
        "redundant_bias": row.redundant_bias,
        "anchors": anchors | _anchors(given(changes.pop("anchors", None))),
        "loss": given(changes.pop("loss", None)),
        "postprocess": given(changes.pop("postprocess", None)),
    }
    options |= changes
    levels = tuple(options["levels"])
    return HeadPlan(HeadSpec("detection", options), levels, levels)


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


def _semantic(
    row: DetectorRow, trunk: AnyBackboneSpec, neck: NeckSpec, heads: tuple[str, ...], changes: dict[str, Any]
) -> HeadPlan:
    """Alone, EfficientDet's design; beside detection the light one: a neck of a detector's width that also works at
    stride 4 would cost more than all the rest."""
    fine = heads == ("semantic",)
    auxiliary, loss = given(changes.pop("auxiliary", None)), given(changes.pop("loss", None))
    options = {
        "levels": list(FINE if fine else COARSE),
        "merge": "finest" if fine else "sum",
        "activation": trunk.activation,
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
    return HeadPlan(HeadSpec("semantic", options), levels, reads)


def _auxiliary_level(level: str, levels: tuple[str, ...]) -> tuple[str, ...]:
    """The neck's level that an auxiliary loss reads; none where it is the backbone's."""
    if level in levels:
        return (level,)
    if level in ("C2", "C3", "C4", "C5"):
        return ()
    raise UserError(f"auxiliary.level={level!r} must be one of C2 to C5 or of the head's levels {', '.join(levels)}")


PYRAMID_HEADS: dict[str, Callable[..., HeadPlan]] = {"detection": _detection, "semantic": _semantic}


def _classification(trunk: AnyBackboneSpec, changes: dict[str, Any]) -> HeadPlan:
    options = {
        "head_channels": trunk.head_channels,
        "dropout": trunk.dropout,
        "activation": trunk.activation,
        "padding": trunk.padding,
        "norm_eps": trunk.norm_eps,
        "norm_momentum": trunk.norm_momentum,
    }
    return HeadPlan(HeadSpec("classification", options | changes))


def _embedding(trunk: AnyBackboneSpec, changes: dict[str, Any]) -> HeadPlan:
    return HeadPlan(HeadSpec("embedding", {**_classification(trunk, {}).spec.options, "dropout": 0.0} | changes))


PICTURE_HEADS: dict[str, Callable[..., HeadPlan]] = {"classification": _classification, "embedding": _embedding}
"""Heads on C5 alone, which need no neck."""


def given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that are set: null means "as the scaling says"."""
    return {key: value for key, value in (options or {}).items() if value is not None}
