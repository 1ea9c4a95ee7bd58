"""Channel attention: a weight in (0, 1) for each channel of each image, from its global average.

Squeeze-and-excitation (Hu et al., 2018) is EfficientNet's own. Efficient channel attention (ECA, Wang et al., CVPR
2020) is offered in its place: a single 1-D convolution across the channels, a handful of parameters instead of two
dense layers.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from backbones.layers import Activation, Conv2d
from backbones.memory_efficient import gate

KINDS = ("se", "eca", "none")


class SqueezeExcite(nn.Module):
    """``x * sigmoid(expand(act(reduce(mean(x)))))`` with two biased 1x1 convolutions. (B, C, H, W) -> the same.

    Args:
        reduced: width of the bottleneck. EfficientNet takes a quarter of the *block's input*, not of the expanded
        width.
    """

    def __init__(self, channels: int, reduced: int, *, activation: str = "silu") -> None:
        super().__init__()
        self.reduce = Conv2d(channels, reduced, 1, bias=True)
        self.act = Activation(activation)
        self.expand = Conv2d(reduced, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return gate(x, self.expand(self.act(self.reduce(pooled))))


def eca_kernel(channels: int, *, gamma: int = 2, b: int = 1) -> int:
    """ECA's adaptive kernel (eq. 12): ``|log2(C) / gamma + b / gamma|`` truncated, then raised to an odd number."""
    size = int(abs((math.log2(channels) + b) / gamma))
    return size if size % 2 else size + 1


class EfficientChannelAttention(nn.Module):
    """``x * sigmoid(conv1d_k(mean(x)))``, the convolution along the channels (eq. 9). (B, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = eca_kernel(channels)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)).unsqueeze(1)  # (B, 1, C): channels are the axis that the convolution runs along
        weights = self.conv(pooled).sigmoid()
        return x * weights.transpose(1, 2).unsqueeze(-1)  # (B, C, 1, 1)


def channel_attention(kind: str, channels: int, *, reduced: int, activation: str = "silu") -> nn.Module:
    """The layer called `kind`: ``se``, ``eca`` or ``none`` (the identity). Only ``se`` reads `reduced`."""
    if kind == "se":
        return SqueezeExcite(channels, reduced, activation=activation)
    if kind == "eca":
        return EfficientChannelAttention(channels)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"attention must be one of {', '.join(KINDS)}, got {kind!r}")
