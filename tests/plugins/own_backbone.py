"""A backbone as a user writes one: strided convolutions, a map for each from stride 4 on."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


class Strided(nn.Module):
    strides = (4, 8, 16, 32)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.channels = tuple(width * factor for factor in (1, 2, 4, 8))
        widths = (3, width, *self.channels)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(first, second, 3, 2, 1, bias=False), nn.BatchNorm2d(second), nn.ReLU())
            for first, second in itertools.pairwise(widths)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four maps, each (B, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""
        maps, x = [], images
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


class Unfit(Strided):
    """Whose strides are not what it computes."""

    strides = (8, 16, 32, 64)


def no_module(width: int = 16) -> torch.Tensor:
    return torch.zeros(width)
