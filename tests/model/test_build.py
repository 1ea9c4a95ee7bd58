"""The counter of multiply-adds against counting by hand."""

import pytest
import torch
from torch import nn

from backbones.layers import Conv2d
from backbones.mbconv import DepthwiseSeparable, InvertedResidual
from effdet.model import count_cost, count_macs, spec_for


def counted(module: nn.Module, *shape: int) -> int:
    with torch.device("meta"):
        return count_macs(module.to("meta").eval(), torch.empty(*shape))


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution(bias):
    # out_h * out_w * k * k * in * out; "same" padding gives ceil(15 / 2) x ceil(9 / 2)
    assert counted(Conv2d(6, 10, 3, stride=2, bias=bias), 1, 6, 15, 9) == 8 * 5 * 3 * 3 * 6 * 10


def test_a_depthwise_convolution():
    assert counted(Conv2d(12, 12, 5, groups=12), 1, 12, 7, 7) == 7 * 7 * 5 * 5 * 12


def test_a_linear_layer_and_a_batch():
    assert counted(nn.Linear(20, 7), 1, 20) == 20 * 7
    assert counted(nn.Linear(20, 7), 3, 20) == 3 * 20 * 7


def test_what_has_no_products_is_free():
    assert counted(nn.Sequential(nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(2)), 1, 4, 8, 8) == 0


def test_an_mbconv_block_with_squeeze_and_excitation():
    block = InvertedResidual(16, 24, 5, stride=2, expansion=6, se_ratio=0.25)
    expand = 14 * 14 * 16 * 96
    depthwise = 7 * 7 * 5 * 5 * 96
    squeeze_excite = 96 * 4 + 4 * 96  # on one pixel; a quarter of the block's 16 channels
    project = 7 * 7 * 96 * 24
    assert counted(block, 1, 16, 14, 14) == expand + depthwise + squeeze_excite + project


def test_an_mbconv_block_with_eca():
    block = InvertedResidual(16, 16, 3, expansion=4, se_ratio=0.25, attention="eca")
    # 64 channels: a kernel of 3 along them
    assert counted(block, 1, 16, 8, 8) == 8 * 8 * (16 * 64 + 9 * 64 + 64 * 16) + 3 * 64


def test_mbconv1_expands_nothing():
    assert counted(DepthwiseSeparable(32, 16, 3), 1, 32, 10, 10) == 10 * 10 * (9 * 32 + 32 * 16)


def test_a_whole_classifier():
    """Lite0 without attention, layer by layer (EfficientNet, arXiv 1905.11946, table 1, at 64 px)."""
    side, width, total = 32, 32, 32 * 32 * 9 * 3 * 32
    rows = [
        (1, 16, 1, 3, 1),
        (6, 24, 2, 3, 2),
        (6, 40, 2, 5, 2),
        (6, 80, 3, 3, 2),
        (6, 112, 3, 5, 1),
        (6, 192, 4, 5, 2),
        (6, 320, 1, 3, 1),
    ]  # expansion, channels, layers, kernel, stride; fmt: skip
    for expansion, channels, layers, kernel, first in rows:
        for layer in range(layers):
            stride, wide = first if layer == 0 else 1, width * expansion
            total += side * side * width * wide if expansion > 1 else 0
            side = -(-side // stride)
            total += side * side * (kernel * kernel * wide + wide * channels)
            width = channels
    total += side * side * 320 * 1280 + 1280 * 10
    assert count_cost(spec_for("tf_efficientnet_lite0", num_classes=10, image_size=64)).gmacs * 1e9 == total
