"""From a description to a model, and what it costs: parameters, and multiply-adds counted on tensors without data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from backbones import protocol
from effdet.model.external import build_backbone, count_macs
from effdet.model.heads import build_head
from effdet.model.spec import ModelSpec
from effdet.model.vision_model import VisionModel
from effdet.necks import FeaturePyramid


def build(spec: ModelSpec) -> VisionModel:
    """Build the model of `spec` with fresh weights from torch's default generator, in training mode."""
    backbone = build_backbone(spec.backbone)
    neck = None if spec.neck is None else FeaturePyramid(protocol.widths(backbone), spec.neck)
    return VisionModel(spec, backbone, neck, build_heads(spec, level_widths(backbone, neck)))


def build_heads(spec: ModelSpec, widths: Mapping[str, int]) -> dict[str, nn.Module]:
    """Only the heads of `spec`, by name.

    Args:
        widths: of :func:`level_widths`.
    """
    return {name: build_head(name, head, widths, spec.classes[name]) for name, head in spec.heads.items()}


def level_widths(backbone: protocol.Backbone, neck: FeaturePyramid | None) -> dict[str, int]:
    """Channels of each level that a head may read."""
    widths = protocol.widths(backbone)
    return widths if neck is None else widths | dict.fromkeys(neck.levels, neck.channels)


@dataclass(frozen=True)
class Cost:
    """What a model costs."""

    parameters: int
    gmacs: float
    """10^9 multiply-adds of one image, only of convolutions and matrix products."""


def count_cost(spec: ModelSpec, size: tuple[int, int] | None = None) -> Cost:
    """Parameters and multiply-adds of one image of `size`, (height, width) in pixels; None is the model's own."""
    height, width = size or spec.preprocess.size
    with torch.device("meta"):
        model = build(spec).eval()
        images = torch.empty(1, 3, height, width)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, count_macs(model, images) / 1e9)
