"""The tables and the arithmetic of scaling, against the published rows as literals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from backbones import list_names
from backbones.scaling import (
    BackboneSpec,
    architecture,
    backbone_spec,
    conventions_of,
    phi_coefficients,
    phi_spec,
    round_filters,
    round_repeats,
)

# EfficientNet's released table: stem, stage widths, stage depths, head, resolution.
V1 = {
    "b0": (32, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 1280, 224),
    "b1": (32, (16, 24, 40, 80, 112, 192, 320), (2, 3, 3, 4, 4, 5, 2), 1280, 240),
    "b2": (32, (16, 24, 48, 88, 120, 208, 352), (2, 3, 3, 4, 4, 5, 2), 1408, 260),
    "b3": (40, (24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2), 1536, 300),
    "b4": (48, (24, 32, 56, 112, 160, 272, 448), (2, 4, 4, 6, 6, 8, 2), 1792, 380),
    "b5": (48, (24, 40, 64, 128, 176, 304, 512), (3, 5, 5, 7, 7, 9, 3), 2048, 456),
    "b6": (56, (32, 40, 72, 144, 200, 344, 576), (3, 6, 6, 8, 8, 11, 3), 2304, 528),
    "b7": (64, (32, 48, 80, 160, 224, 384, 640), (4, 7, 7, 10, 10, 13, 4), 2560, 600),
    "b8": (72, (32, 56, 88, 176, 248, 424, 704), (4, 8, 8, 11, 11, 15, 4), 2816, 672),
    "l2": (136, (72, 104, 176, 344, 480, 824, 1376), (6, 11, 11, 16, 16, 22, 6), 5504, 800),
}


@pytest.mark.parametrize("name", V1)
def test_rows_of_v1(name):
    spec = backbone_spec(name)
    stages = tuple(stage.channels for stage in spec.stages), tuple(stage.repeats for stage in spec.stages)
    assert (spec.stem_channels, *stages, spec.head_channels, spec.image_size) == V1[name]


@pytest.mark.parametrize("phi", range(8))
def test_whole_phi_is_the_published_network(phi):
    assert phi_spec(phi) == phi_spec(float(phi)) == backbone_spec(f"b{phi}") == backbone_spec(f"tf_efficientnet_b{phi}")


def test_lite_keeps_its_ends():
    spec = backbone_spec("lite4")
    assert (spec.stem_channels, spec.head_channels) == (32, 1280)
    assert [stage.repeats for stage in spec.stages] == [1, 4, 4, 6, 6, 8, 1]
    assert (spec.attention, spec.activation) == ("none", "relu6")
    assert phi_spec(4, lite=True) == spec


def test_feature_widths():
    assert backbone_spec("b0").channels == (16, 24, 40, 112, 320)
    assert backbone_spec("l2").channels == (72, 104, 176, 480, 1376)
    assert backbone_spec("v2_s").channels == (24, 48, 64, 160, 256)
    assert backbone_spec("v2_m").channels == (24, 48, 80, 176, 512)
    assert backbone_spec("v2_rw_t").channels == (24, 40, 48, 128, 208)


def test_round_filters_by_hand():
    assert round_filters(32, 1.1) == 32  # 35.2
    assert round_filters(40, 1.1) == 48  # 44 is half-way: up
    assert round_filters(16, 1.2) == 24  # 19.2 -> 16, but that is under 0.9 * 19.2
    assert round_filters(16, 1.2, floor=0) == 16  # V2 has no such rule
    assert round_filters(16, 0.2) == 8
    assert [round_repeats(count, 1.1) for count in (1, 2, 3, 4)] == [2, 3, 4, 5]


def test_between_whole_phi_the_table_is_interpolated():
    row = phi_coefficients(2.5)
    assert row.width == pytest.approx(1.15) and row.depth == pytest.approx(1.3)
    assert row.image_size == 280 and row.dropout == pytest.approx(0.3)
    lite = phi_coefficients(3.5, lite=True)
    assert lite.width == pytest.approx(1.3) and lite.image_size == 288  # 290, to a multiple of 8


def test_below_zero_the_papers_constants_hold():
    row = phi_coefficients(-2)
    assert row.width == pytest.approx(1.1**-2) and row.depth == pytest.approx(1.2**-2)
    assert row.image_size == 168  # 224 / 1.15**2 = 169.4


@pytest.mark.parametrize("lite", [False, True])
def test_networks_grow_with_phi(lite):
    def size(phi):
        spec = phi_spec(phi, lite=lite)
        return spec.blocks * spec.channels[-1] * spec.image_size**2

    phis = [-4, -3, -2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 3.25, 4]
    assert [size(phi) for phi in phis] == sorted(size(phi) for phi in phis)
    small = phi_spec(-12, lite=lite)
    assert min(stage.repeats for stage in small.stages) == 1
    assert all(stage.channels % 8 == 0 and stage.channels >= 8 for stage in small.stages)


def test_phi_out_of_range():
    with pytest.raises(ValueError, match="phi must be a number up to 8, got 9"):
        phi_spec(9)
    with pytest.raises(ValueError, match="up to 4, got nan"):
        phi_spec(float("nan"), lite=True)


def test_conventions_go_by_name():
    tf, timm = backbone_spec("tf_efficientnet_b0"), backbone_spec("efficientnet_b0")
    assert (tf.padding, tf.norm_eps, tf.norm_momentum) == ("same", 1e-3, 0.01)
    assert (timm.padding, timm.norm_eps, timm.norm_momentum) == ("symmetric", 1e-5, 0.1)
    assert conventions_of("torchvision_efficientnet_b4").norm_eps == 1e-5
    assert conventions_of("torchvision_efficientnet_b5").norm_eps == 1e-3
    assert conventions_of("torchvision_efficientnet_v2_s").norm_momentum == 0.1
    assert conventions_of("v2_rw_t").padding == "symmetric"  # there is no TensorFlow version of it


def test_short_names_are_the_full_ones():
    assert backbone_spec("b3").name == "tf_efficientnet_b3"
    assert backbone_spec("v2_s").name == "tf_efficientnetv2_s"
    assert backbone_spec("v2_rw_m").name == "efficientnetv2_rw_m"
    assert architecture("tf_efficientnetv2_b1") == "v2_b1"


@pytest.mark.parametrize("name", list_names())
def test_every_spec_survives_json(name):
    spec = backbone_spec(name)
    assert BackboneSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_overrides_and_their_errors():
    assert backbone_spec("b0", attention="eca").attention == "eca"
    assert phi_spec(-1, drop_path=0.0).drop_path == 0.0
    with pytest.raises(ValueError, match="there is no backbone 'efficientnet_b10'; did you mean efficientnet_b"):
        backbone_spec("efficientnet_b10")
    with pytest.raises(ValueError, match="backbone\\.atention is not a setting; backbone has activation, padding"):
        backbone_spec("b0", atention="eca")
    with pytest.raises(
        ValueError, match=r"attention must be one of se, eca, none, got 'x'; dropout must lie in \[0, 1\)"
    ):
        backbone_spec("b0", attention="x", dropout=1.0)
    spec = backbone_spec("b0")
    with pytest.raises(ValueError, match="four stages must have stride 2 .* got 3"):
        replace(spec, stages=spec.stages[:4])
    with pytest.raises(ValueError, match="op must be one of mbconv, .*stride must be 1 or 2, got 3"):
        replace(spec.stages[0], op="dense", stride=3)
