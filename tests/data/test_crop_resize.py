"""A window's pixels, against Pillow's own resizing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from effdet.data.crop import Window, mirror, resize_mask, resize_window, snap_to_pixels

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something with both edges and slopes: smooth waves under sparse noise."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    waves = 127 + 100 * np.sin(ys / 9)[..., None] * np.cos(xs / 7)[..., None] * np.array([1.0, 0.6, -0.8])
    noise = np.where(rng.random((height, width, 1)) < 0.05, rng.normal(0, 80, (height, width, 3)), 0)
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("target", [(90, 130), (240, 320), (400, 511), (512, 100), (170, 420)])
def test_equal_to_pillow(interpolation, target):
    image = photo(240, 320)
    window = Window((0, 0, 320, 240), (0, 0, target[1], target[0]))
    expected = np.asarray(Image.fromarray(image).resize(target[::-1], PILLOW[interpolation]))
    found = resize_window(image, window, (240, 320), interpolation)
    assert found.shape == (*target, 3)
    assert found.dtype == np.uint8
    off = np.abs(found.astype(int) - expected)
    # Where the height shrinks and the width grows, Pillow begins with the other axis, and rounds other numbers between.
    other_order = target[0] < 240 and target[1] > 320
    assert off.max() <= (12 if other_order and interpolation == "bicubic" else 2)
    assert off.mean() < (0.2 if other_order else 0.01)
    assert np.array_equal(resize_window(image, mirror(window), (240, 320), interpolation), found[:, ::-1])


def test_a_crop_at_whole_pixels_is_resized_as_if_cut_out():
    image = photo(240, 320)
    window = Window((20, 30, 300, 230), (5, 7, 205, 307))
    expected = np.asarray(Image.fromarray(image[30:230, 20:300]).resize((200, 300), PILLOW["bilinear"]))
    assert np.abs(resize_window(image, window, (240, 320), "bilinear").astype(int) - expected).max() <= 1


def test_a_crop_between_pixels_is_pillows():
    image = photo(60, 80)
    window = Window((3.25, 4.5, 43.25, 50.1), (0, 0, 90, 70))
    assert snap_to_pixels(window, (60, 80), (60, 80)) == window
    expected = Image.fromarray(image).resize((90, 70), PILLOW["bilinear"], box=(3.25, 4.5, 43.25, 50.1))
    assert np.array_equal(resize_window(image, window, (60, 80), "bilinear"), np.asarray(expected))
    flipped = resize_window(image, mirror(window), (60, 80), "bilinear")
    assert np.array_equal(flipped, np.asarray(expected)[:, ::-1])


def test_edges_move_to_the_nearest_decoded_pixel():
    # Decoded at half size, so whole pixels there are even coordinates of the record.
    window = Window((100.7, 51.2, 500.9, 400.0), (0, 0, 400, 300))
    moved = snap_to_pixels(window, (300, 400), (600, 800))
    assert moved.source == (100.0, 52.0, 500.0, 400.0)
    assert moved.target == window.target
    assert snap_to_pixels(moved, (300, 400), (600, 800)) == moved


def test_boxes_follow_the_moved_window():
    image = np.zeros((600, 800, 3), np.uint8)
    image[200:300, 240:360] = 255
    window = snap_to_pixels(Window((120.4, 99.7, 520.4, 399.3), (0, 0, 400, 300)), (600, 800), (600, 800))
    found = resize_window(image, window, (600, 800), "bilinear")[..., 0]
    ys, xs = np.nonzero(found > 127)
    box, _ = window.boxes(np.array([[240, 200, 360, 300]], np.float32))
    np.testing.assert_allclose(box[0], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=0.51)


def test_reduced_pixels_fill_the_same_window():
    image = photo(320, 480)
    half = np.asarray(Image.fromarray(image).resize((240, 160), Image.Resampling.BOX))
    window = Window((20, 10, 460, 310), (5, 5, 115, 80))
    full = resize_window(image, window, (320, 480), "bilinear").astype(int)
    assert np.abs(full - resize_window(half, window, (320, 480), "bilinear")).mean() < 2


def test_a_window_as_large_as_its_target_is_copied():
    image = photo(128, 128)
    window = Window((0, 0, 128, 128), (0, 0, 128, 128))
    found = resize_window(image, window, (128, 128), "bilinear")
    assert np.array_equal(found, image)
    assert np.array_equal(resize_window(image, mirror(window), (128, 128), "bilinear"), image[:, ::-1])


def test_masks_keep_their_values():
    mask = np.repeat(np.repeat(np.array([[3, 7], [255, 0]], np.uint8), 50, 0), 80, 1)
    window = mirror(Window((0, 0, 160, 100), (0, 0, 40, 20)))
    small = resize_mask(mask, window)
    assert small.shape == (20, 40)
    assert small[0, 0] == 7 and small[0, -1] == 3 and small[-1, 0] == 0 and small[-1, -1] == 255
    assert set(np.unique(small)) == {0, 3, 7, 255}
