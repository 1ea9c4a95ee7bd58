"""The four blocks of the EfficientNet family. Each maps (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride)).

| block                | layers                                              | used by                               |
|----------------------|-----------------------------------------------------|---------------------------------------|
| `InvertedResidual`   | 1x1 expand, k x k depthwise, attention, 1x1 project | MBConv: EfficientNet §4, MobileNetV2  |
| `DepthwiseSeparable` | k x k depthwise, attention, 1x1 project             | MBConv1: EfficientNet's first stage   |
| `EdgeResidual`       | k x k expand, attention, 1x1 project                | Fused-MBConv: EfficientNetV2 §3.2     |
| `ConvBlock`          | k x k convolution with activation                   | EfficientNetV2's first stage          |

A projection has no activation (linear bottleneck). Only a block that keeps size and width has a residual, and only
there does stochastic depth act.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from backbones.attention import channel_attention
from backbones.layers import DEFAULTS, ConvNormAct, DropPath, LayerConventions


class Block(nn.Module):
    """What the blocks share: the residual around `body`.

    Args:
        stride: 1 or 2.
        expansion: width of the middle, in units of `in_channels` (ignored by blocks that don't expand).
        attention: ``se``, ``eca`` or ``none``.
        se_ratio: squeeze width in units of `in_channels`; 0 means no attention of any kind in this block.
        drop_path: probability that a sample skips the body in training.
        skip: whether a residual is wanted where it is possible.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        expansion: float = 1.0,
        attention: str = "se",
        se_ratio: float = 0.0,
        conventions: LayerConventions = DEFAULTS,
        drop_path: float = 0.0,
        skip: bool = True,
    ) -> None:
        super().__init__()
        layer = partial(ConvNormAct, conventions=conventions)
        wide = round(in_channels * expansion)

        def attend(channels: int) -> nn.Module:
            reduced = max(1, int(in_channels * se_ratio))
            kind = attention if se_ratio else "none"
            return channel_attention(kind, channels, reduced=reduced, activation=conventions.activation)

        self._build(layer, attend, in_channels, wide, out_channels, kernel, stride)
        self.residual = skip and stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path) if self.residual and drop_path else nn.Identity()

    def _build(self, layer, attend, narrow: int, wide: int, out: int, kernel: int, stride: int) -> None:
        raise NotImplementedError

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        return x + self.drop_path(out) if self.residual else out


class InvertedResidual(Block):
    """MBConv."""

    def _build(self, layer, attend, narrow: int, wide: int, out: int, kernel: int, stride: int) -> None:
        self.expand = layer(narrow, wide, 1)
        self.depthwise = layer(wide, wide, kernel, stride=stride, groups=wide)
        self.attention = attend(wide)
        self.project = layer(wide, out, 1, linear=True)

    def body(self, x: Tensor) -> Tensor:
        return self.project(self.attention(self.depthwise(self.expand(x))))


class DepthwiseSeparable(Block):
    """MBConv with expansion 1, whose expanding convolution is left out."""

    def _build(self, layer, attend, narrow: int, wide: int, out: int, kernel: int, stride: int) -> None:
        self.depthwise = layer(narrow, narrow, kernel, stride=stride, groups=narrow)
        self.attention = attend(narrow)
        self.project = layer(narrow, out, 1, linear=True)

    def body(self, x: Tensor) -> Tensor:
        return self.project(self.attention(self.depthwise(x)))


class EdgeResidual(Block):
    """Fused-MBConv: one full convolution for expand and depthwise, faster on most accelerators in early stages."""

    def _build(self, layer, attend, narrow: int, wide: int, out: int, kernel: int, stride: int) -> None:
        self.expand = layer(narrow, wide, kernel, stride=stride)
        self.attention = attend(wide)
        self.project = layer(wide, out, 1, linear=True)

    def body(self, x: Tensor) -> Tensor:
        return self.project(self.attention(self.expand(x)))


class ConvBlock(Block):
    """Fused-MBConv with expansion 1: a single convolution, whose activation stays because nothing is projected."""

    def _build(self, layer, attend, narrow: int, wide: int, out: int, kernel: int, stride: int) -> None:
        self.conv = layer(narrow, out, kernel, stride=stride)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x)


BLOCKS: dict[str, type[Block]] = {
    "mbconv": InvertedResidual,
    "separable": DepthwiseSeparable,
    "fused": EdgeResidual,
    "conv": ConvBlock,
}
