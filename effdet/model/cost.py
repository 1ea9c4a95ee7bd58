"""What a model costs: parameters, and multiply-adds counted on tensors without data. The one counter of the project."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from effdet.model.build import build
from effdet.model.macs import count_macs
from effdet.model.spec import ModelSpec


@dataclass(frozen=True)
class Cost:
    """What a model costs."""

    parameters: int
    gmacs: float
    """10^9 multiply-adds of one image, convolutions and matrix products alone."""


def count_cost(spec: ModelSpec, size: tuple[int, int] | None = None) -> Cost:
    """Parameters and multiply-adds of one image of `size`, (height, width) in pixels; None is the model's own."""
    height, width = size or spec.preprocess.size
    with torch.device("meta"):
        model = build(spec).eval()
        images = torch.empty(1, 3, height, width)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, count_macs(model, images) / 1e9)
