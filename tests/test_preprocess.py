"""Preprocessing: geometry there and back, pixel statistics, every resize rule."""

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.preprocess import HALF, Preprocess, restore_mask
from heads.structures import UserError


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_letterbox_keeps_the_aspect_and_pads_right_and_bottom():
    canvas, geometry = Preprocess((64, 64), fill=(1, 2, 3)).geometry(image(100, 50))
    assert geometry.scale == (0.64, 0.64) and geometry.offset == (0, 0)
    assert (canvas[:, 32:] == (1, 2, 3)).all() and not (canvas[:, :32] == (1, 2, 3)).all(axis=-1).all()


def test_letterbox_resize_is_pillows():
    pixels = image(90, 120)
    canvas, _ = Preprocess((64, 64)).geometry(pixels)
    expected = np.asarray(Image.fromarray(pixels).resize((64, 48), Image.Resampling.BILINEAR))
    assert np.array_equal(canvas[:48], expected)


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center_crop"])
@pytest.mark.parametrize("shape", [(100, 50), (50, 100), (64, 64), (1, 7), (333, 217)])
def test_boxes_come_back(resize, shape):
    height, width = shape
    preprocess = Preprocess((64, 96), resize=resize)
    canvas, geometry = preprocess.geometry(image(height, width))
    assert canvas.shape == (64, 96, 3) and canvas.flags["C_CONTIGUOUS"]
    boxes = np.array([[0, 0, width, height], [0.25 * width, 0.5 * height, 0.5 * width, 0.75 * height]], np.float32)
    np.testing.assert_allclose(geometry.to_original(geometry.to_canvas(boxes)), boxes, rtol=1e-4, atol=1e-3)


def test_no_boxes_come_back_as_none():
    _, geometry = Preprocess((64, 64)).geometry(image(10, 10))
    assert geometry.to_original(np.zeros((0, 4))).shape == (0, 4)


def test_the_scale_is_that_of_the_pixels_after_truncation():
    """333 x 217 on 64 px: int(217 * 64 / 333) = 41 columns, so x is scaled by 41 / 217, not 64 / 333."""
    _, geometry = Preprocess((64, 64)).geometry(image(333, 217))
    assert geometry.scale == (64 / 333, 41 / 217)


def test_boxes_are_clipped_to_the_original():
    _, geometry = Preprocess((64, 64)).geometry(image(100, 50))
    restored = geometry.to_original(np.array([[-5, -5, 64, 64]], np.float32))
    assert restored.tolist() == [[0, 0, 50, 100]]


def test_masks_are_resampled_with_nearest_alone():
    mask = np.random.default_rng(0).choice(np.array([0, 7, 254], np.uint8), (100, 80))
    canvas = Preprocess((64, 64)).geometry_mask(mask)
    assert set(np.unique(canvas)) <= {0, 7, 254, 255} and (canvas[:, 52:] == 255).all()


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_a_mask_comes_back(resize):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 3
    preprocess = Preprocess((80, 120), resize=resize)
    geometry = preprocess.place(40, 60).geometry
    assert np.array_equal(restore_mask(preprocess.geometry_mask(mask), geometry), mask)


def test_cropped_away_pixels_come_back_as_ignored():
    preprocess = Preprocess((32, 32), resize="center_crop")
    geometry = preprocess.place(32, 64).geometry
    restored = restore_mask(np.zeros((32, 32), np.uint8), geometry)
    assert (restored[:, :16] == 255).all() and (restored[:, 16:48] == 0).all() and (restored[:, 48:] == 255).all()


def test_normalise_is_mean_and_deviation_in_unit_range():
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    out = Preprocess((1, 1), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2)).normalise(images)
    expected = [(0 - 0.1) / 0.5, (127 / 255 - 0.2) / 0.25, (1 - 0.3) / 0.2]
    assert out.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_lite_statistics_by_hand():
    """(x - 127) / 128 is mean 127/255, deviation 128/255."""
    images = torch.arange(0, 255, 85, dtype=torch.uint8).view(1, 3, 1, 1)
    out = Preprocess((1, 1), mean=(127 / 255,) * 3, std=(128 / 255,) * 3).normalise(images)
    torch.testing.assert_close(out, (images.float() - 127) / 128)


def test_normalise_keeps_channels_last():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).to(memory_format=torch.channels_last)
    assert Preprocess((4, 4)).normalise(images).is_contiguous(memory_format=torch.channels_last)


def test_plain_values_round_trip():
    preprocess = Preprocess((64, 96), resize="stretch", mean=HALF, std=HALF, fill=(0, 0, 0))
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
    assert preprocess.fitted(32).size == (32, 32) and preprocess.fitted((8, 16)).size == (8, 16)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"resize": "pad"}, "preprocess.resize=pad: must be letterbox"),
        ({"interpolation": "cubic"}, "preprocess.interpolation=cubic: must be bilinear"),
        ({"size": (0, 4)}, r"preprocess.size=\[0, 4\]: must be"),
    ],
)
def test_bad_settings(values, text):
    with pytest.raises(UserError, match=text):
        Preprocess(**({"size": (64, 64)} | values))


def test_normalise_with_the_channels_last():
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    preprocess = Preprocess((4, 5), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    last = preprocess.normalise(images.permute(0, 2, 3, 1), channels_last=True)
    assert torch.equal(last.permute(0, 3, 1, 2), preprocess.normalise(images))
