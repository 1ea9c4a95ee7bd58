"""Padding, pooling, activations, stochastic depth and initialisation, against formulas written here anew."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backbones.layers import (
    ACTIVATIONS,
    Activation,
    Conv2d,
    ConvNormAct,
    DropPath,
    MaxPool2d,
    SeparableConv2d,
    initialise,
    same_padding,
)


def test_same_padding_by_hand():
    # 3x3, stride 2: 6 pixels give 3 outputs that start at 0, 2, 4 and reach pixel 6: one pixel too far, so (0, 1).
    assert same_padding(6, 3, 2) == (0, 1)
    assert same_padding(7, 3, 2) == (1, 1)  # 4 outputs at -1, 1, 3, 5
    assert same_padding(6, 5, 2) == (1, 2)
    assert same_padding(5, 3, 1) == (1, 1)
    assert same_padding(5, 1, 2) == (0, 0)


def test_same_padding_is_tensorflows_on_random_sizes():
    dice = random.Random(0)
    for _ in range(500):
        size, kernel, stride = dice.randint(1, 97), dice.randint(1, 7), dice.randint(1, 4)
        # TensorFlow's documentation: by the remainder of the size, not by the number of outputs.
        total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
        assert same_padding(size, kernel, stride) == (total // 2, total - total // 2)


def test_convolution_by_hand():
    # One row 1 2 3 4 with a kernel of ones, stride 2: "same" pads only on the right, "symmetric" on both sides.
    conv = Conv2d(1, 1, 3, stride=2)
    nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0, 1] = 1.0  # the middle row of the kernel: no sum over rows
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    assert conv(x).flatten().tolist() == [6.0, 7.0]  # 1+2+3, 3+4+0
    conv.padding_rule = "symmetric"
    assert conv(x).flatten().tolist() == [3.0, 9.0]  # 0+1+2, 2+3+4


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(7, 8), (9, 9), (16, 12), (11, 5)])
def test_same_equals_explicit_padding(kernel, stride, size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    conv, pool = Conv2d(3, 4, kernel, stride=stride), MaxPool2d(kernel, stride)
    (top, bottom), (left, right) = (same_padding(length, kernel, stride) for length in size)
    plain = nn.Conv2d(3, 4, kernel, stride, bias=False)
    plain.load_state_dict(conv.state_dict())
    torch.testing.assert_close(conv(x), plain(nn.functional.pad(x, (left, right, top, bottom))))
    assert conv(x).shape[2:] == tuple(-(-length // stride) for length in size)
    padded = nn.functional.pad(x, (left, right, top, bottom), value=float("-inf"))
    assert torch.equal(pool(x), nn.functional.max_pool2d(padded, kernel, stride))


def test_symmetric_is_pytorchs_own():
    x = torch.randn(1, 3, 9, 12)
    conv = Conv2d(3, 4, 5, stride=2, padding="symmetric")
    plain = nn.Conv2d(3, 4, 5, 2, padding=2, bias=False)
    plain.load_state_dict(conv.state_dict())
    assert torch.equal(conv(x), plain(x))
    assert torch.equal(MaxPool2d(3, 2, padding="symmetric")(x), nn.functional.max_pool2d(x, 3, 2, 1))


def test_padding_never_wins_the_pool():
    assert MaxPool2d(3, 2)(torch.full((1, 1, 4, 4), -5.0)).eq(-5).all()


def test_symmetric_pads_are_left_to_the_kernel(monkeypatch):
    def no_pad(*_, **__):
        raise AssertionError("the input was copied")

    conv, pool = Conv2d(3, 4, 3, stride=2), MaxPool2d(3, 2)
    monkeypatch.setattr("backbones.layers.F.pad", no_pad)
    conv(torch.randn(1, 3, 9, 13)), pool(torch.randn(1, 3, 9, 13)), Conv2d(3, 4, 5)(torch.randn(1, 3, 8, 8))
    with pytest.raises(AssertionError, match="copied"):
        conv(torch.randn(1, 3, 8, 13))


def test_rule_may_change_after_building():
    x = torch.randn(1, 3, 8, 8)
    one, other = Conv2d(3, 4, 3, stride=2), Conv2d(3, 4, 3, stride=2, padding="symmetric")
    other.load_state_dict(one.state_dict())
    assert not torch.equal(one(x), other(x))
    one.padding_rule = "symmetric"
    assert torch.equal(one(x), other(x)) and one.padding_rule == "symmetric"


def test_unknown_names_are_refused_with_the_list():
    with pytest.raises(ValueError, match="padding must be one of same, symmetric, got 'valid'"):
        Conv2d(3, 4, 3, padding="valid")
    with pytest.raises(ValueError, match="activation must be one of silu, relu6, .*got 'swish2'"):
        Activation("swish2")
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\), got 1.0"):
        DropPath(1.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = torch.linspace(-8, 8, 33)
    oracle = {
        "silu": x * x.sigmoid(),
        "relu6": x.clamp(0, 6),
        "relu": x.clamp(min=0),
        "hard_swish": x * (x + 3).clamp(0, 6) / 6,
        "gelu": x * 0.5 * (1 + torch.erf(x / 2**0.5)),
        "identity": x,
    }[name]
    torch.testing.assert_close(Activation(name)(x), oracle)
    assert Activation(name).name == name


def test_separable_is_depthwise_then_pointwise():
    torch.manual_seed(0)
    layer, x = SeparableConv2d(3, 5), torch.randn(2, 3, 6, 7)
    middle = torch.cat(
        [nn.functional.conv2d(x[:, c : c + 1], layer.depthwise.weight[c : c + 1], padding=1) for c in range(3)], 1
    )
    weight, bias = layer.pointwise.weight[:, :, 0, 0], layer.pointwise.bias
    expected = torch.einsum("oc,bchw->bohw", weight, middle) + bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), expected)
    assert SeparableConv2d(3, 5, bias=False).pointwise.bias is None


class TestDropPath:
    def test_evaluation_is_the_identity(self):
        x = torch.randn(4, 3, 2, 2)
        assert DropPath(0.5).eval()(x) is x

    def test_samples_are_kept_whole_or_dropped_whole(self):
        torch.manual_seed(0)
        out = DropPath(0.25)(torch.ones(4000, 2, 1, 3))
        per_sample = out.flatten(1)
        assert per_sample.eq(per_sample[:, :1]).all()
        assert per_sample.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
        assert abs(per_sample[:, 0].gt(0).float().mean() - 0.75) < 0.03  # 4.4 standard deviations
        assert abs(out.mean() - 1) < 0.04

    def test_is_a_function_of_the_seed(self):
        torch.manual_seed(3)
        one = DropPath(0.5)(torch.ones(64, 1, 1, 1))
        torch.manual_seed(3)
        assert torch.equal(one, DropPath(0.5)(torch.ones(64, 1, 1, 1)))

    def test_bf16_keeps_its_type(self):
        assert DropPath(0.2)(torch.ones(8, 1, 1, 1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_initialise_draws_the_papers_distributions():
    torch.manual_seed(0)
    net = nn.Sequential(ConvNormAct(64, 256, 3), Conv2d(512, 512, 5, groups=512), nn.Linear(400, 100))
    initialise(net)
    assert abs(net[0].conv.weight.std() / (2 / (9 * 256)) ** 0.5 - 1) < 0.02
    assert abs(net[1].weight.std() / (2 / 25) ** 0.5 - 1) < 0.03  # depthwise: one output for each group
    assert net[2].weight.abs().max() <= 0.1 and net[2].weight.abs().max() > 0.099
    assert net[2].bias.eq(0).all() and net[0].norm.weight.eq(1).all()


def test_traced_and_exported_layers_serve_every_size():
    net = nn.Sequential(ConvNormAct(3, 8, 3, stride=2), MaxPool2d(3, 2), Conv2d(8, 8, 5, stride=2)).eval()
    size = {axis: torch.export.Dim(name, min=32, max=512) for axis, name in ((2, "height"), (3, "width"))}
    exported = torch.export.export(net, (torch.randn(1, 3, 64, 96),), dynamic_shapes=(size,)).module()
    traced = torch.jit.trace(net, torch.randn(1, 3, 64, 96))
    for height, width in ((64, 96), (65, 97), (34, 51)):
        x = torch.randn(1, 3, height, width)
        torch.testing.assert_close(exported(x), net(x))
        torch.testing.assert_close(traced(x), net(x))


def test_depthwise_in_bf16_on_a_cpu_is_float32_inside():
    torch.manual_seed(0)
    layer = Conv2d(8, 8, 3, stride=2, groups=8)
    x = torch.randn(2, 8, 9, 12, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, layer(x.float()).bfloat16())
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (2, 4), (64, 96)])
def test_a_widened_kernel_gives_the_same(kernel, size):
    conv = Conv2d(6, 6, kernel, stride=2, groups=6, bias=True).eval()
    x = torch.randn(2, 6, *size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = conv(x)
        keys = set(conv.state_dict())
        conv.pad_kernel()
        assert torch.allclose(conv(x), expected, atol=1e-6) and set(conv.state_dict()) == keys


def test_even_sizes_are_not_copied_after_widening(monkeypatch):
    conv = Conv2d(6, 6, 3, stride=2, groups=6).eval()
    conv.pad_kernel()
    monkeypatch.setattr(F, "pad", lambda *_: pytest.fail("a copy"))
    assert conv(torch.randn(1, 6, 8, 10)).shape == (1, 6, 4, 5)
