"""Bringing a pyramid level to another level's width and size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import BatchNorm2d, Conv2d, MaxPool2d


class Lateral(nn.Module):
    """1x1 convolution and BatchNorm that bring a feature map to the neck's width, at the map's own size."""

    def __init__(
        self, in_channels: int, channels: int, *, bias: bool, padding: str, norm_eps: float, norm_momentum: float
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, channels, 1, bias=bias, padding=padding)
        self.norm = BatchNorm2d(channels, eps=norm_eps, momentum=norm_momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Downsample(nn.Module):
    """Half the size: max-pool 3x3 stride 2 (the paper), or bilinear (the EfficientDet-v2 models)."""

    def __init__(self, mode: str, *, padding: str) -> None:
        super().__init__()
        self.mode = mode
        self.pool = MaxPool2d(3, 2, padding=padding) if mode == "max" else None

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, *size); without `size`, (B, C, ceil(H/2), ceil(W/2))."""
        if self.pool is not None:
            return self.pool(x)
        size = size or ((x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)
        return F.interpolate(x, size=size, mode=self.mode, align_corners=False)


def upsample(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), nearest (the paper) or bilinear."""
    return F.interpolate(x, size=size, mode=mode, align_corners=None if mode == "nearest" else False)
