"""Segmentation maps in original pixels against torch's interpolation."""

import pytest
import torch
import torch.nn.functional as F

from effdet.preprocess import Preprocess
from heads import semantic_maps
from heads.semantic_maps import class_map
from heads.structures import Geometry


def plain(size):
    return Geometry(original=size, canvas=size)


@pytest.mark.parametrize("size", [(32, 48), (31, 45), (1, 1)])
def test_on_the_canvas_it_is_bilinear_interpolation(size):
    torch.manual_seed(0)
    scores = torch.randn(5, 8, 12)
    expected = F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0].argmax(0)
    found = class_map(scores, plain(size))
    assert found.dtype == torch.uint8 and found.shape == size
    assert (found == expected).float().mean() > 0.999  # two scores may be equal but for rounding


def test_strips_change_nothing(monkeypatch):
    torch.manual_seed(0)
    scores = torch.randn(3, 8, 12)
    whole = class_map(scores, plain((32, 48)))
    monkeypatch.setitem(semantic_maps.STRIP, "cpu", 3 * 48 * 5)
    assert torch.equal(class_map(scores, plain((32, 48))), whole)


@pytest.mark.parametrize("original", [(100, 200), (37, 20), (500, 300)])
def test_a_letterboxed_image_comes_back_to_its_place(original):
    """Scores that know the canvas position: class 1 right of the middle of the image, wherever that is."""
    geometry = Preprocess(size=(64, 64)).place(*original).geometry
    width = original[1] * geometry.scale[1]
    position = (torch.arange(16) + 0.5) * 4 - width / 2
    scores = torch.stack([-position, position])[:, None].expand(2, 16, 16)
    found = class_map(scores, geometry)
    assert found.shape == original
    middle = original[1] // 2
    assert (found[:, : middle - 1] == 0).all() and (found[:, middle + 1 :] == 1).all()


def test_what_was_cropped_away_is_unknown():
    geometry = Preprocess(size=(32, 32), resize="center_crop").place(32, 64).geometry
    found = class_map(torch.zeros(2, 8, 8), geometry)
    assert (found[:, 16:48] == 0).all() and (found[:, :16] == 255).all() and (found[:, 48:] == 255).all()


def test_half_precision_is_enough():
    scores = torch.randn(3, 4, 4).bfloat16()
    assert torch.equal(class_map(scores, plain((16, 16))), class_map(scores.float(), plain((16, 16))))
