"""Backbones that are not ours: built from their description, and surveyed for what scaling and preprocessing need to know."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from backbones.efficientnet import EfficientNet
from backbones.protocol import Backbone, check_backbone, widths
from backbones.spec import AnyBackboneSpec, BackboneSpec, ExternalSpec, backbone_from_dict
from effdet import plugins
from effdet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from effdet.scaling import DetectorRow, detector_phi, nearest_phi
from heads.errors import UserError


@dataclass(frozen=True)
class Survey:
    """What is known of an external backbone before a model is built around it."""

    channels: dict[str, int]
    """By level, C1 … C5."""
    gmacs: float
    """10^9 multiply-adds of one image of `pixels.size`."""
    phi: int
    """The compound scaling of ours whose backbone is nearest in multiply-adds, each at its own image size."""
    row: DetectorRow
    """The detector's row of `phi`, around this backbone."""
    pixels: Preprocess
    """As its weights were trained: for an image classifier as it is, for other heads in mean and deviation."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where its published weights are; see :class:`backbones.timm.TimmBackbone`."""

    def __str__(self) -> str:
        row, size = self.row, self.pixels.size[0]
        return (
            f"backbone {row.backbone}: {self.gmacs:.2f} GMACs at {size} px are nearest to those of phi={self.phi}, whose neck"
            f" ({row.channels} channels, {row.cells} cells), heads and image size ({row.size} px) are taken"
        )


def build_backbone(spec: AnyBackboneSpec) -> Backbone:
    """The backbone of `spec` with fresh weights.

    Raises:
        UserError: there is no such network, or the user's class cannot be built.
    """
    if isinstance(spec, BackboneSpec):
        return EfficientNet(spec)
    if spec.kind == "target":
        return _checked(plugins.instantiate(spec.options), spec)
    from backbones.timm import TimmBackbone  # an extra

    try:
        return TimmBackbone(spec.name, **spec.options)
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error


def survey(spec: ExternalSpec) -> Survey:
    """Build the backbone once, compare its maps with what it says of them, and count its multiply-adds.

    Raises:
        UserError: it cannot be built, or lacks maps that every model needs.
    """
    return _survey(json.dumps(spec.to_dict(), sort_keys=True))


@lru_cache(maxsize=16)
def _survey(key: str) -> Survey:
    spec = backbone_from_dict(json.loads(key))
    assert isinstance(spec, ExternalSpec)
    # timm's networks count without data; a class of the user's own may need numbers
    with torch.random.fork_rng(devices=[]), torch.device("meta") if spec.kind == "timm" else nullcontext():
        backbone: Any = build_backbone(spec)
        if spec.kind == "timm":
            _checked(backbone, spec)
        size = int(getattr(backbone, "image_size", 224))
        whole = 32 * max(1, round(size / 32))  # of other sizes, the padding would count too
        gmacs = count_macs(backbone.eval(), torch.zeros(1, 3, whole, whole)) / 1e9 * (size / whole) ** 2
    phi = nearest_phi(gmacs)
    row = replace(
        detector_phi(phi),
        name=f"efficientdet_{spec.name}",
        backbone=spec.name,
        padding=spec.conventions.padding,
        redundant_bias=False,
    )
    mean, std = (_rgb(getattr(backbone, key, usual)) for key, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)))
    pixels = Preprocess(
        size=(size, size),
        resize="center_crop",
        interpolation="bilinear" if getattr(backbone, "interpolation", "bicubic") == "bilinear" else "bicubic",
        mean=mean,
        std=std,
        # padding is about zero after normalising
        fill=(round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2])),
        crop=float(getattr(backbone, "crop", 0.875)),
    )
    return Survey(widths(backbone), gmacs, phi, row, pixels, dict(getattr(backbone, "sources", {})))


def count_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products in ``module(*inputs)``.

    The one counter of the project. As the papers count: no bias, normalisation, activation, pooling, resampling or sum. The
    tensors may be on torch's device ``meta``, which only computes shapes.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports for a second

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2  # a multiply-add is two operations to torch


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _checked(backbone: Any, spec: ExternalSpec) -> Backbone:
    try:
        check_backbone(spec.name, backbone)
    except ValueError as error:
        raise UserError(str(error)) from error
    assert isinstance(backbone, nn.Module)
    return backbone  # type: ignore[return-value]
