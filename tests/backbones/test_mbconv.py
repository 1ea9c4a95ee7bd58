"""The blocks: their shapes, when they have a residual, and their arithmetic on a worked example."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backbones.layers import DropPath
from backbones.mbconv import BLOCKS, ConvBlock, DepthwiseSeparable, EdgeResidual, InvertedResidual


@pytest.mark.parametrize("op", BLOCKS)
@pytest.mark.parametrize(("stride", "out", "residual"), [(1, 8, True), (1, 16, False), (2, 8, False)])
def test_shape_and_residual(op, stride, out, residual):
    block = BLOCKS[op](8, out, 3, stride=stride, expansion=4, se_ratio=0.25, drop_path=0.1)
    assert block(torch.randn(2, 8, 9, 12)).shape == (2, out, -(-9 // stride), -(-12 // stride))
    assert block.residual == residual
    assert isinstance(block.drop_path, DropPath if residual else nn.Identity)


@pytest.mark.parametrize("op", BLOCKS)
def test_a_body_of_zero_leaves_the_input(op):
    block = BLOCKS[op](8, 8, 3, expansion=4, se_ratio=0.25).eval()
    last = block.conv if op == "conv" else block.project
    nn.init.zeros_(last.norm.weight)
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(block(x), x)
    assert BLOCKS[op](8, 8, 3, skip=False).residual is False


def test_squeeze_is_a_quarter_of_the_blocks_input_not_of_its_middle():
    block = InvertedResidual(16, 24, 3, expansion=6, se_ratio=0.25)
    assert block.attention.reduce.weight.shape == (4, 96, 1, 1)
    assert DepthwiseSeparable(2, 8, 3, se_ratio=0.25).attention.reduce.out_channels == 1  # at least one


def test_inverted_residual_step_by_step():
    torch.manual_seed(0)
    block, x = InvertedResidual(4, 4, 3, expansion=2, se_ratio=0.5).eval(), torch.randn(2, 4, 6, 6)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)

    def normed(part, y):
        mean, deviation = part.norm.running_mean, (part.norm.running_var + 1e-3).sqrt()
        return (y - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)

    wide = nn.functional.silu(normed(block.expand, nn.functional.conv2d(x, block.expand.conv.weight)))
    deep = nn.functional.conv2d(wide, block.depthwise.conv.weight, padding=1, groups=8)
    deep = block.attention(nn.functional.silu(normed(block.depthwise, deep)))
    expected = x + normed(block.project, nn.functional.conv2d(deep, block.project.conv.weight))  # no activation
    torch.testing.assert_close(block(x), expected)


def test_fused_blocks_have_no_depthwise_convolution():
    for cls in (EdgeResidual, ConvBlock):
        assert all(layer.groups == 1 for layer in cls(8, 8, 3, expansion=4).modules() if isinstance(layer, nn.Conv2d))


def test_no_attention_where_the_ratio_is_zero():
    assert isinstance(EdgeResidual(8, 8, 3, attention="eca").attention, nn.Identity)
