"""An architecture under factors, by hand."""

from dataclasses import replace

import pytest

from backbones.scaling import backbone_spec
from effdet.model import Architecture
from effdet.scaling import detector_row, row_for_backbone
from effdet.search.coefficients import Factors, scaled

BACKBONE = backbone_spec("b0")
BASE = Architecture.of_row(row_for_backbone(BACKBONE.name), BACKBONE, image_size=(64, 96))


def test_nothing_changes_but_the_name():
    same = scaled(BASE, Factors(), name="x")
    assert replace(same, name=BASE.name, backbone=BACKBONE) == BASE
    assert replace(same.backbone, name=BACKBONE.name, image_size=224) == BACKBONE


def test_depth_alone():
    deeper = scaled(BASE, Factors(depth=1.5), name="x")
    assert [stage.repeats for stage in deeper.backbone.stages] == [2, 3, 3, 4, 4, 6, 2]  # 1.5 of 1 2 2 3 3 4 1, nearest
    assert [stage.channels for stage in deeper.backbone.stages] == [stage.channels for stage in BACKBONE.stages]
    assert (deeper.neck.repeats, deeper.neck.channels, deeper.head.repeats) == (4, 64, 4)
    assert deeper.image_size == (64, 96)


def test_width_alone():
    wider = scaled(BASE, Factors(width=1.1), name="x")
    # B2's widths: the published row with 1.1
    assert [stage.channels for stage in wider.backbone.stages] == [s.channels for s in backbone_spec("b2").stages]
    assert (wider.backbone.stem_channels, wider.backbone.head_channels) == (32, 1408)
    assert (wider.neck.channels, wider.neck.repeats) == (72, 3)
    assert wider.backbone.blocks == BACKBONE.blocks


@pytest.mark.parametrize(("step", "size"), [(1, (74, 110)), (2, (74, 110)), (8, (72, 112)), (32, (64, 96))])
def test_resolution_alone(step, size):
    larger = scaled(BASE, Factors(resolution=1.15), name="x", size_step=step)
    assert larger.image_size == size and larger.backbone.image_size == max(size)
    assert larger.backbone.stages == BACKBONE.stages


def test_nothing_vanishes():
    least = scaled(BASE, Factors(0.01, 0.01, 0.01), name="x")
    assert {stage.repeats for stage in least.backbone.stages} == {1} and least.image_size == (32, 32)
    assert {stage.channels for stage in least.backbone.stages} == {8} and least.neck.channels == 8


def test_lite_keeps_its_pixels():
    lite = backbone_spec("lite0")
    base = Architecture.of_row(detector_row("efficientdet_lite0"), lite, name=lite.name)
    assert scaled(base, Factors(2, 1, 1), name="deep").row().pixels == "half"
