"""An architecture made deeper, wider and larger: the same factors for backbone, neck and heads."""

from __future__ import annotations

from dataclasses import replace

from backbones.scaling import BackboneSpec, round_filters
from effdet.model import Architecture
from effdet.search.coefficients import Factors

SMALLEST = 32
"""Pixels: the backbone's last stride."""


def scaled(base: Architecture, factors: Factors, *, name: str, size_step: int = 1) -> Architecture:
    """`base` under `factors`, with whole layers, channels in multiples of 8 and whole pixels.

    Layers go to the nearest number. The published networks round them up, which turns a depth of 1.2 into 1.44 times B0's
    layers: a grid under α · β² · γ² ≈ 2 would compare models of unlike cost.

    Args:
        name: of the new architecture and of its backbone.
        size_step: height and width are rounded to a multiple of so many pixels.
    """
    neck, head = base.neck, base.head
    if neck is not None:
        neck = neck.replace(
            channels=round_filters(neck.channels, factors.width), repeats=_nearest(neck.repeats * factors.depth)
        )
    if head is not None:
        head = replace(head, repeats=_nearest(head.repeats * factors.depth) if head.repeats else 0)
    height, width = (_side(side * factors.resolution, size_step) for side in base.image_size)
    return Architecture(
        name=name,
        backbone=_backbone(base.backbone, factors, name=name, size=max(height, width)),
        image_size=(height, width),
        neck=neck,
        head=head,
        made_by={},
    )


def _backbone(base: BackboneSpec, factors: Factors, *, name: str, size: int) -> BackboneSpec:
    stages = tuple(
        replace(
            stage,
            channels=round_filters(stage.channels, factors.width),
            repeats=_nearest(stage.repeats * factors.depth),
        )
        for stage in base.stages
    )
    # The statistics that a backbone expects of its pixels go by its name.
    name = f"lite_{name}" if "lite" in base.name and "lite" not in name else name
    return replace(
        base,
        name=name,
        stages=stages,
        stem_channels=round_filters(base.stem_channels, factors.width),
        head_channels=round_filters(base.head_channels, factors.width),
        image_size=size,
    )


def _nearest(layers: float) -> int:
    return max(1, round(layers))


def _side(pixels: float, step: int) -> int:
    return max(SMALLEST, step * round(pixels / step))
