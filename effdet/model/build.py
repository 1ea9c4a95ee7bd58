"""From a description to a model."""

from __future__ import annotations

from backbones import protocol
from effdet.model.external import build_backbone
from effdet.model.heads import build_head
from effdet.model.spec import ModelSpec
from effdet.model.vision_model import VisionModel
from effdet.necks import FeaturePyramid


def build(spec: ModelSpec) -> VisionModel:
    """Build the model of `spec` with fresh weights from torch's default generator, in training mode."""
    backbone = build_backbone(spec.backbone)
    widths = protocol.widths(backbone)
    neck = None
    if spec.neck is not None:
        neck = FeaturePyramid(widths, spec.neck)
        widths |= dict.fromkeys(neck.levels, neck.channels)
    heads = {name: build_head(name, head, widths, spec.classes[name]) for name, head in spec.heads.items()}
    return VisionModel(spec, backbone, neck, heads)
