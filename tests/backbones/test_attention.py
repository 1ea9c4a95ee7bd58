"""Channel attention against its formulas, written out with einsum and loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from backbones.attention import EfficientChannelAttention, SqueezeExcite, channel_attention, eca_kernel


def test_squeeze_excite_is_its_formula():
    torch.manual_seed(0)
    layer, x = SqueezeExcite(8, 2), torch.randn(3, 8, 5, 7)
    pooled = x.flatten(2).mean(2)
    hidden = torch.einsum("oc,bc->bo", layer.reduce.weight[:, :, 0, 0], pooled) + layer.reduce.bias
    hidden = hidden / (1 + torch.exp(-hidden))
    gate = 1 / (
        1 + torch.exp(-(torch.einsum("oc,bc->bo", layer.expand.weight[:, :, 0, 0], hidden) + layer.expand.bias))
    )
    torch.testing.assert_close(layer(x), x * gate[:, :, None, None])


def test_eca_is_its_formula():
    torch.manual_seed(0)
    layer, x = EfficientChannelAttention(64), torch.randn(2, 64, 3, 5)
    kernel = layer.conv.weight.flatten().tolist()
    reach = len(kernel) // 2
    pooled = x.mean((2, 3))
    expected = torch.empty_like(x)
    for image in range(2):
        for channel in range(64):
            total = sum(
                weight * float(pooled[image, channel + offset - reach])
                for offset, weight in enumerate(kernel)
                if 0 <= channel + offset - reach < 64
            )
            expected[image, channel] = x[image, channel] / (1 + math.exp(-total))
    torch.testing.assert_close(layer(x), expected)
    assert len(list(layer.parameters())) == 1


@pytest.mark.parametrize(
    ("channels", "kernel"),
    # |(log2(C) + 1) / 2| truncated, then odd: 8 -> 2 -> 3, 64 -> 3.5 -> 3, 256 -> 4.5 -> 5, 2048 -> 6 -> 7
    [(8, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)],
)
def test_eca_kernel_by_hand(channels, kernel):
    assert eca_kernel(channels) == kernel


@pytest.mark.parametrize("kind", ["se", "eca"])
def test_one_image_in_bf16(kind):
    layer = channel_attention(kind, 16, reduced=4).to(torch.bfloat16)
    out = layer(torch.randn(1, 16, 4, 6, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16 and out.shape == (1, 16, 4, 6) and out.isfinite().all()


def test_kinds():
    assert isinstance(channel_attention("none", 8, reduced=2), nn.Identity)
    with pytest.raises(ValueError, match="attention must be one of se, eca, none, got 'cbam'"):
        channel_attention("cbam", 8, reduced=2)
