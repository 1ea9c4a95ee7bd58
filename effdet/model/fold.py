"""Folding: the same function with fewer operations, only for prediction.

BatchNorm in evaluation mode is an affine map for each channel, so it disappears into the convolution before it; the
normalised fusion weights of the neck become constants. A head's pointwise convolutions are shared over the levels but its
BatchNorms are not: there each level gets a convolution of its own (:meth:`DetectionHead.fold`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from backbones.layers import Conv2d, SeparableConv2d
from effdet.model.vision_model import VisionModel
from effdet.necks.pyramid import Fusion
from heads.protocol import Context, Foldable
from heads.structures import UserError


class FoldedModel(nn.Module):
    """A model that can only predict: equal outputs to the model it was folded from, up to float rounding."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.model = model
        super().train(False)
        self.requires_grad_(False)

    @property
    def spec(self):
        return self.model.spec

    @property
    def preprocess(self):
        return self.model.preprocess

    @property
    def classes(self):
        return self.model.classes

    @property
    def heads(self) -> nn.ModuleDict:
        return self.model.heads

    def train(self, mode: bool = True) -> Self:
        if mode:
            raise UserError("a folded model can only predict: its BatchNorm is gone; train the model it came from")
        return super().train(False)

    def forward(self, images: Tensor) -> dict[str, Any]:
        return self.model(images)

    def predict(self, outputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
        return self.model.predict(outputs, context)


def fold(model: VisionModel, *, autocast: torch.dtype | None = None) -> FoldedModel:
    """A folded copy of `model`, which is left as it is.

    Args:
        autocast: the type that autocast will run convolutions in. Their weights are cast once, where autocast would cast
            them anew in every pass; the outputs are the same. Such a copy works only under that autocast.

    Raises:
        UserError: the model is folded already.
    """
    if isinstance(model, FoldedModel):
        raise UserError("this model is folded already; fold the model it came from")
    folded = copy.deepcopy(model).eval()
    for module in folded.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(norm, nn.BatchNorm2d):
            if isinstance(conv, SeparableConv2d):
                conv.pointwise = fold_norm(conv.pointwise, norm)
            elif isinstance(conv, Conv2d):
                module.conv = fold_norm(conv, norm)
            else:
                continue
            module.norm = nn.Identity()
        if isinstance(module, Fusion):
            module.freeze()
    for part in (folded.backbone, *folded.heads.values()):
        if isinstance(part, Foldable):
            part.fold(fold_norm)
    for module in folded.modules():
        if isinstance(module, Conv2d):
            module.pad_kernel()
    if autocast is not None:
        for module in folded.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(autocast)
    return FoldedModel(folded)


@torch.no_grad()
def fold_norm(conv: Conv2d, norm: nn.BatchNorm2d) -> Conv2d:
    """``norm(conv(x))`` in evaluation mode, as one convolution with bias. The arguments are left as they are.

    With s = gamma / sqrt(var + eps): weight * s and (bias - mean) * s + beta, computed in float64 on the CPU: not every
    accelerator has float64.
    """
    assert norm.running_mean is not None and norm.running_var is not None, "no running statistics: nothing to fold"
    mean, var, gamma, beta = (x.cpu().double() for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    bias = 0.0 if conv.bias is None else conv.bias.cpu().double()
    scale = gamma / (var + norm.eps).sqrt()
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter((conv.weight.cpu().double() * scale.view(-1, 1, 1, 1)).to(conv.weight))
    folded.bias = nn.Parameter(((bias - mean) * scale + beta).to(conv.weight))
    return folded
