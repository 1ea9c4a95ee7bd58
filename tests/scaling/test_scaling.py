"""Compound scaling: the published table, and the formulas around it."""

from dataclasses import replace

import pytest

from effdet.scaling import DETECTORS, detector_phi, detector_row, row_for_backbone
from heads.structures import UserError

# arXiv 1911.09070, table 1, with the corrections of its code: (size, W_bifpn, D_bifpn, D_box)
TABLE_1 = [
    (512, 64, 3, 3),
    (640, 88, 4, 3),
    (768, 112, 5, 3),
    (896, 160, 6, 4),
    (1024, 224, 7, 4),
    (1280, 288, 7, 4),
    (1280, 384, 8, 5),
]


@pytest.mark.parametrize("phi", range(7))
def test_integer_phi_is_the_published_row(phi):
    row = detector_phi(phi)
    assert (row.size, row.channels, row.cells, row.repeats) == TABLE_1[phi]
    named = DETECTORS[f"tf_efficientdet_d{phi}"]
    assert (named.size, named.channels, named.cells, named.repeats) == TABLE_1[phi]


def test_d7_and_d7x():
    d7, d7x = detector_row("d7"), detector_row("d7x")
    assert (d7.size, d7.anchor_scale, d7.backbone, d7.levels[-1]) == (1536, 5.0, "tf_efficientnet_b6", "P7")
    assert (d7x.size, d7x.anchor_scale, d7x.backbone, d7x.levels[-1]) == (1536, 4.0, "tf_efficientnet_b7", "P8")


def test_below_zero_follows_the_formulas():
    """phi=-2: 64 * 1.35^-2 = 35.1 -> 32; 3 - 2 = 1 cell; 3 + floor(-2/3) = 2 repeats; 512 - 256 = 256 px."""
    row = detector_phi(-2)
    assert (row.channels, row.cells, row.repeats, row.size) == (32, 1, 2, 256)


def test_everything_grows_with_phi():
    rows = [detector_phi(step / 4) for step in range(-16, 25)]
    for name in ("channels", "cells", "repeats", "size"):
        values = [getattr(row, name) for row in rows]
        assert values == sorted(values), name


def test_out_of_range_phi():
    with pytest.raises(UserError, match="phi=9 is out of range; use -4"):
        detector_phi(9)


def test_backbone_chooses_the_row():
    assert row_for_backbone("tf_efficientnet_b3").channels == 160
    assert row_for_backbone("tf_efficientnet_lite2").size == 448
    plain = row_for_backbone("efficientnet_b3")
    assert (plain.channels, plain.padding, plain.redundant_bias) == (160, "symmetric", False)
    assert row_for_backbone("torchvision_efficientnet_b3") == replace(plain, backbone="torchvision_efficientnet_b3")
    assert row_for_backbone("efficientnetv2_rw_t") == DETECTORS["efficientdetv2_dt"]
    with pytest.raises(ValueError, match="there is no backbone 'resnet50'"):
        row_for_backbone("resnet50")


def test_short_names():
    assert detector_row("efficientdet_lite0").name == "tf_efficientdet_lite0"
    assert detector_row("d3").name == "tf_efficientdet_d3"
    assert detector_row("yolo") is None
