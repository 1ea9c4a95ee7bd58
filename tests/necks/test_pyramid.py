"""The neck as a module: sizes, counts, fusion arithmetic, and one cell against the paper's equations."""

import pytest
import torch
import torch.nn.functional as F

from effdet.necks import FeaturePyramid, NeckSpec
from effdet.necks.pyramid import Fusion
from heads.structures import UserError

B0 = {"C1": 16, "C2": 24, "C3": 40, "C4": 112, "C5": 320}


def features(height, width, channels, batch=1):
    """C1…C5 of a (height, width) image, sizes rounded up at each halving."""
    maps = {}
    for number, (name, count) in enumerate(channels.items(), start=1):
        maps[name] = torch.randn(batch, count, -(-height // 2**number), -(-width // 2**number))
    return maps


def test_d0_neck_has_the_published_parameter_count():
    assert sum(p.numel() for p in FeaturePyramid(B0, NeckSpec()).parameters()) == 196_281


@pytest.mark.parametrize("kind", ["bifpn", "fpn", "panet", "quad"])
@pytest.mark.parametrize("size", [(128, 128), (96, 160), (100, 300)])
def test_levels_keep_their_sizes(kind, size):
    neck = FeaturePyramid(B0, NeckSpec(channels=8, repeats=2, kind=kind))
    levels = neck(features(*size, B0, batch=2))
    assert list(levels) == ["P3", "P4", "P5", "P6", "P7"]
    height, width = (-(-side // 4) for side in size)
    for level in levels.values():
        height, width = -(-height // 2), -(-width // 2)
        assert level.shape == (2, 8, height, width)


@pytest.mark.parametrize("kind", ["bifpn", "fpn", "panet", "quad"])
def test_gradients_reach_every_parameter(kind):
    neck = FeaturePyramid(B0, NeckSpec(channels=8, repeats=2, kind=kind))
    sum(level.square().sum() for level in neck(features(128, 128, B0, batch=2)).values()).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())


def test_fast_fusion_by_hand():
    fusion = Fusion(3, "fast")
    fusion.weights.data = torch.tensor([1.0, -2.0, 3.0])
    inputs = [torch.full((1, 1, 1, 1), value) for value in (10.0, 100.0, 20.0)]
    assert fusion(inputs).item() == pytest.approx((1 * 10 + 0 * 100 + 3 * 20) / (4 + 1e-4))


def test_softmax_fusion_by_hand():
    fusion = Fusion(2, "softmax")
    fusion.weights.data = torch.tensor([0.0, 1.0]).log1p()
    inputs = [torch.full((1, 1, 1, 1), value) for value in (3.0, 6.0)]
    assert fusion(inputs).item() == pytest.approx((1 * 3 + 2 * 6) / 3)


def test_sum_fusion_has_no_parameters():
    fusion = Fusion(2, "sum")
    assert not list(fusion.parameters())
    assert fusion([torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1) * 2]).item() == 3


@pytest.mark.parametrize("rule", ["fast", "softmax"])
def test_frozen_fusion_is_equal(rule):
    fusion, inputs = Fusion(2, rule), [torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)]
    fusion.weights.data.uniform_(0.1, 2)
    before = fusion(inputs)
    fusion.freeze()
    assert torch.equal(fusion(inputs), before) and not list(fusion.parameters())


def test_one_cell_is_the_papers_equations():
    """P6td and P6out of arXiv 1911.09070, section 3.3, written with torch's own functions."""
    width = dict.fromkeys(B0, 4)
    neck = FeaturePyramid(width, NeckSpec(channels=4, repeats=1, padding="symmetric")).eval()
    for parameter in neck.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)
    maps = features(256, 256, width)
    out = neck(maps)

    def node(fusion_weights, module, *inputs):
        w = fusion_weights.relu()
        x = sum(wi * xi for wi, xi in zip(w, inputs, strict=True)) / (w.sum() + 1e-4)
        x = F.conv2d(F.silu(x), module.conv.depthwise.weight, padding=1, groups=4)
        x = F.conv2d(x, module.conv.pointwise.weight, module.conv.pointwise.bias)
        return x / (1 + 1e-3) ** 0.5 * module.norm.weight.view(1, -1, 1, 1) + module.norm.bias.view(1, -1, 1, 1)

    up = lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    down = lambda x: F.max_pool2d(x, 3, 2, padding=1)
    cell = neck.cells[0]
    p3, p4, p5 = maps["C3"], maps["C4"], maps["C5"]
    p6 = down(p5)
    p7 = down(p6)
    td6 = node(cell.td["P6"].fuse.weights, cell.td["P6"], p6, up(p7))
    td5 = node(cell.td["P5"].fuse.weights, cell.td["P5"], p5, up(td6))
    td4 = node(cell.td["P4"].fuse.weights, cell.td["P4"], p4, up(td5))
    out3 = node(cell.td["P3"].fuse.weights, cell.td["P3"], p3, up(td4))
    out4 = node(cell.out["P4"].fuse.weights, cell.out["P4"], p4, td4, down(out3))
    out5 = node(cell.out["P5"].fuse.weights, cell.out["P5"], p5, td5, down(out4))
    out6 = node(cell.out["P6"].fuse.weights, cell.out["P6"], p6, td6, down(out5))
    out7 = node(cell.out["P7"].fuse.weights, cell.out["P7"], p7, down(out6))
    for level, expected in zip(("P3", "P4", "P5", "P6", "P7"), (out3, out4, out5, out6, out7), strict=True):
        torch.testing.assert_close(out[level], expected, rtol=1e-4, atol=1e-4)


def test_the_first_cell_has_two_laterals_for_p4_and_p5():
    names = {name for name, _ in FeaturePyramid(B0, NeckSpec()).named_parameters() if "laterals" in name}
    for node in ("td.P4", "out.P4", "td.P5", "out.P5", "td.P3"):
        assert any(name.startswith(f"cells.0.{node}.laterals.") for name in names)
    assert not any(name.startswith("cells.1") for name in names)


def test_no_lateral_where_the_width_agrees_already():
    neck = FeaturePyramid(B0 | {"C4": 64}, NeckSpec(channels=64))
    assert not neck.cells[0].td["P4"].laterals and not neck.cells[0].out["P4"].laterals


def test_narrow_weights_load_into_a_wider_neck():
    narrow = FeaturePyramid(B0, NeckSpec(channels=8, repeats=1))
    wide = FeaturePyramid(B0, NeckSpec(channels=8, repeats=1, levels=("P2", "P3", "P4", "P5", "P6", "P7")))
    state, target = narrow.state_dict(), wide.state_dict()
    fits = [name for name, value in state.items() if name in target and target[name].shape == value.shape]
    assert len(fits) == len(state), "P2 below changes no node of P3–P7"


def test_bf16_autocast():
    neck = FeaturePyramid(B0, NeckSpec(channels=8, repeats=1)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.isfinite(level).all() for level in neck(features(128, 128, B0)).values())


def test_bad_settings_name_value_and_choices():
    with pytest.raises(UserError, match="neck.fusion=mean: must be fast \\| softmax \\| sum"):
        NeckSpec(fusion="mean")
    with pytest.raises(UserError, match="neck.repeats=0: must be int ≥ 1"):
        NeckSpec(repeats=0)
