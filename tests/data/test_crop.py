"""Boxes go where the pixels go: the oracle is the image itself."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.data.crop import Window, as_evaluated, mirror, random_area, random_scale, resize_window
from effdet.data.rng import generator
from effdet.preprocess import Preprocess


def painted(window: Window, canvas: tuple[int, int], size: tuple[int, int], box: list[int]) -> np.ndarray:
    """The canvas after a black image with one bright box was laid on it; grey where nothing lies."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    result = np.full((*canvas, 3), 70, np.uint8)
    result[window.rows, window.columns] = resize_window(pixels, window, size, "bilinear")
    return result


def bright(canvas: np.ndarray) -> list[int]:
    """xyxy of what is brighter than half."""
    ys, xs = np.nonzero(canvas[..., 0] > 127)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else []


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center_crop"])
@pytest.mark.parametrize("size", [(120, 200), (200, 120), (96, 96), (37, 41)])
def test_random_scale_and_mirror(resize, size):
    preprocess = Preprocess((96, 128), resize=resize)
    box = [size[1] // 4, size[0] // 3, size[1] // 2, size[0] * 3 // 4]
    seen = 0
    for seed in range(40):
        rng = generator(seed)
        window = random_scale(rng, size, preprocess, scale=(0.3, 2.0), aspect=(0.8, 1.25))
        window = mirror(window) if rng.random() < 0.5 else window
        canvas = painted(window, preprocess.size, size, box)
        boxes, visible = window.boxes(np.array([box], np.float32))
        found = bright(canvas)
        if found:
            seen += 1
            np.testing.assert_allclose(boxes[0], found, atol=1.01)
        else:
            assert visible[0] < 0.2
    assert seen > 20


@pytest.mark.parametrize("size", [(120, 200), (50, 40)])
def test_random_area(size):
    box = [size[1] // 3, size[0] // 3, size[1] * 2 // 3, size[0] * 2 // 3]
    for seed in range(20):
        window = random_area(generator(seed), size, (64, 96), area=(0.3, 1.0), aspect=(0.75, 1.33))
        boxes, _ = window.boxes(np.array([box], np.float32))
        found = bright(painted(window, (64, 96), size, box))
        if found:
            scale = max(window.scale)
            np.testing.assert_allclose(boxes[0], found, atol=max(1.01, scale / 2))
        x1, y1, x2, y2 = window.source
        assert x1 >= 0 and y1 >= 0 and x2 <= size[1] and y2 <= size[0]


def test_as_evaluated_by_hand():
    # 200×100 on 128×128: scale 0.64, top left.
    window = as_evaluated((100, 200), Preprocess((128, 128)))
    assert window.source == (0, 0, 200, 100)
    assert window.target == (0, 0, 128, 64)
    boxes, visible = window.boxes(np.array([[50, 25, 100, 75]], np.float32))
    assert boxes.tolist() == [[32, 16, 64, 48]]
    assert visible.tolist() == [1]
    assert mirror(window).boxes(np.array([[50, 25, 100, 75]], np.float32))[0].tolist() == [[64, 16, 96, 48]]
    crop = as_evaluated((100, 200), Preprocess((100, 100), resize="center_crop"))
    assert crop.source == (50, 0, 150, 100)
    assert crop.boxes(np.array([[40, 0, 60, 10]], np.float32))[1].tolist() == [0.5]


def test_visible_share_of_a_cropped_box():
    window = Window((50, 0, 100, 50), (0, 0, 100, 100))
    boxes, visible = window.boxes(np.array([[40, 10, 60, 20], [0, 0, 10, 10], [60, 40, 80, 60]], np.float32))
    assert boxes.tolist() == [[0, 20, 20, 40], [0, 0, 0, 20], [20, 80, 60, 100]]
    assert visible.tolist() == [0.5, 0, 0.5]


def test_no_boxes():
    boxes, visible = Window((0, 0, 10, 10), (0, 0, 20, 20)).boxes(np.zeros((0, 4), np.float32))
    assert boxes.shape == (0, 4)
    assert visible.shape == (0,)


def test_a_region_holds_its_image():
    preprocess = Preprocess((100, 100))
    for seed in range(30):
        window = random_scale(
            generator(seed), (50, 80), preprocess, scale=(0.2, 2), aspect=(1, 1), region=(30, 40, 70, 90)
        )
        left, top, right, bottom = window.target
        assert left >= 30 and top >= 40 and right <= 70 and bottom <= 90
        assert left < right and top < bottom
