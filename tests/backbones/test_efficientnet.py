"""The assembled backbone: shapes, sizes, modes, checkpointing, compilers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import backbones
from backbones.attention import EfficientChannelAttention, SqueezeExcite
from backbones.layers import DropPath
from backbones.scaling import phi_spec

# Parameters with a head of 1000 classes, and tensors of the state dict: timm 1.0.31's own networks, counted.
COUNTS = {
    "b0": (5_288_548, 360),
    "b1": (7_794_184, 508),
    "b2": (9_109_994, 508),
    "b3": (12_233_232, 574),
    "b4": (19_341_616, 706),
    "b5": (30_389_784, 854),
    "b6": (43_040_704, 986),
    "b7": (66_347_960, 1200),
    "b8": (87_413_142, 1332),
    "l2": (480_309_308, 1914),
    "lite0": (4_652_008, 296),
    "lite1": (5_416_680, 386),
    "lite2": (6_092_072, 386),
    "lite3": (8_197_096, 440),
    "lite4": (13_006_568, 548),
    "v2_b0": (7_139_704, 420),
    "v2_b1": (8_141_052, 516),
    "v2_b2": (10_096_086, 538),
    "v2_b3": (14_358_406, 626),
    "v2_s": (21_458_488, 782),
    "v2_m": (54_139_356, 1120),
    "v2_l": (118_515_272, 1548),
    "v2_xl": (208_119_808, 1990),
    "v2_rw_t": (13_649_388, 760),
    "v2_rw_s": (23_941_296, 794),
    "v2_rw_m": (53_236_442, 1204),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    with torch.device("meta"):
        net = backbones.create(name)
    width, head = net.channels[-1], net.spec.head_channels
    parameters = sum(parameter.numel() for parameter in net.parameters())
    classifier = width * head + 2 * head + head * 1000 + 1000  # 1x1 convolution, BatchNorm, dense layer
    assert (parameters + classifier, len(net.state_dict()) + 8) == COUNTS[name]


def test_all_names_have_a_count():
    from backbones.scaling import architecture

    assert {architecture(name) for name in backbones.list_names()} == set(COUNTS)


@pytest.mark.parametrize("name", ["b0", "lite0", "v2_b0", "efficientnet_b0", "v2_rw_t"])
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_features(name, size):
    net = backbones.create(name).eval()
    features = net(torch.randn(1, 3, *size))
    assert net.strides == (2, 4, 8, 16, 32)
    for feature, width, stride in zip(features, net.channels, net.strides, strict=True):
        assert feature.shape == (1, width, -(-size[0] // stride), -(-size[1] // stride))
        assert feature.isfinite().all()


def test_single_image_equals_the_batch():
    net, images = backbones.create("v2_b0").eval(), torch.randn(3, 3, 64, 48)
    for batched, alone in zip(net(images), net(images[1:2]), strict=True):
        torch.testing.assert_close(batched[1:2], alone)


def test_stochastic_depth_grows_with_the_block():
    net = backbones.create("b0")
    blocks = [block for stage in net.stages for block in stage]
    rates = {index: block.drop_path.rate for index, block in enumerate(blocks) if isinstance(block.drop_path, DropPath)}
    assert rates == {index: pytest.approx(0.2 * index / 16) for index in (2, 4, 6, 7, 9, 10, 12, 13, 14)}
    assert not any(isinstance(layer, DropPath) for layer in backbones.create("b0", drop_path=0.0).modules())


def test_attention_override():
    eca = backbones.create("b0", attention="eca")
    none = backbones.create("b0", attention="none")
    se = backbones.create("b0")
    counts = [sum(parameter.numel() for parameter in net.parameters()) for net in (se, eca, none)]
    assert counts[0] > counts[1] > counts[2]
    layers = [layer for layer in eca.modules() if isinstance(layer, EfficientChannelAttention)]
    assert len(layers) == 16 and counts[1] - counts[2] == sum(layer.conv.weight.numel() for layer in layers)
    lite = backbones.create("lite0", attention="se")
    assert sum(isinstance(layer, SqueezeExcite) for layer in lite.modules()) == 16
    assert [feature.shape[1] for feature in eca(torch.randn(2, 3, 64, 64))] == list(eca.channels)


def test_norm_settings_reach_every_norm():
    net = backbones.create("b0", norm_eps=1e-4, norm_momentum=0.05)
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 48 and {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.05)}


@pytest.mark.parametrize("phi", [-4, -1.5])
def test_small_networks_learn(phi):
    torch.manual_seed(0)
    net = backbones.create(phi_spec(phi, drop_path=0.0))
    images = torch.randn(4, 3, 32, 48)
    loss = sum(feature.square().mean() for feature in net(images))
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())


def test_checkpointing_changes_neither_gradients_nor_statistics():
    torch.manual_seed(0)
    plain = backbones.create(phi_spec(-4))
    kept = copy.deepcopy(plain)
    kept.grad_checkpointing = True
    images = torch.randn(4, 3, 64, 64)
    for net in (plain, kept):
        torch.manual_seed(1)  # stochastic depth drops the same samples in both, and in the second pass
        net(images)[-1].square().mean().backward()
    for (name, one), other in zip(plain.named_parameters(), kept.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for (name, one), other in zip(plain.named_buffers(), kept.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_bf16_and_channels_last():
    net = backbones.create("b0").eval().to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, 64, 96).to(memory_format=torch.channels_last)
    full = net(images)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(images)
    for one, other in zip(full, half, strict=True):
        assert one.is_contiguous(memory_format=torch.channels_last)
        assert (one - other.float()).abs().max() < 0.1 * one.abs().max()
    assert all(feature.dtype == torch.bfloat16 for feature in net.bfloat16()(images.bfloat16()))


def test_export_and_trace_serve_other_sizes():
    net = backbones.create(phi_spec(-4)).eval()
    dims = {0: torch.export.Dim("batch", min=1, max=8)} | {
        axis: 32 * torch.export.Dim(side, min=2, max=40) for axis, side in ((2, "rows"), (3, "columns"))
    }
    exported = torch.export.export(net, (torch.randn(2, 3, 64, 96),), dynamic_shapes=(dims,)).module()
    traced = torch.jit.trace(net, torch.randn(1, 3, 64, 96), strict=False)  # the output is a list
    images = torch.randn(3, 3, 128, 64)
    for one, two, three in zip(net(images), exported(images), traced(images), strict=True):
        torch.testing.assert_close(one, two)
        torch.testing.assert_close(one, three)


@pytest.mark.slow
def test_compiled_is_eager():
    torch.manual_seed(0)
    net = backbones.create(phi_spec(-4, drop_path=0.0))
    compiled = torch.compile(copy.deepcopy(net), backend="aot_eager")  # no code generation: that takes minutes
    for size in ((64, 64), (96, 65)):
        images = torch.randn(2, 3, *size)
        for one, other in zip(net(images), compiled(images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_building_is_a_function_of_the_seed():
    torch.manual_seed(5)
    one = backbones.create(phi_spec(-4)).state_dict()
    torch.manual_seed(5)
    other = backbones.create(phi_spec(-4)).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
