import numpy as np
import pytest
import torch
from PIL import Image

from effdet.drawing import draw_batch, grid
from heads.structures import UserError


def test_grid_keeps_aspect_and_order():
    red, blue = Image.new("RGB", (100, 50), (250, 0, 0)), Image.new("RGB", (30, 60), (0, 0, 250))
    image_grid = grid([red, blue, red], columns=2, cell=(100, 100), gap=4)
    assert image_grid.size == (2 * 104 + 4, 2 * 104 + 4)
    pixels = np.asarray(image_grid)
    assert pixels[54, 54].tolist() == [250, 0, 0] and pixels[10, 54].tolist() != [250, 0, 0]
    assert pixels[54, 158].tolist() == [0, 0, 250]
    assert pixels[158, 54].tolist() == [250, 0, 0]


def test_grid_defaults_and_captions():
    images = [np.zeros((40, 60, 3), np.uint8)] * 5
    plain, named = grid(images), grid(images, captions=["a very long caption indeed, much too long"] * 5)
    assert named.width == plain.width and named.height > plain.height
    with pytest.raises(UserError, match="at least one image"):
        grid([])
    with pytest.raises(UserError, match="5 images and 1 captions"):
        grid(images, captions=["a"])


def test_batch():
    images = torch.zeros(3, 3, 64, 96, dtype=torch.uint8)
    boxes = torch.tensor([[[10.0, 10, 40, 40], [0, 0, 0, 0]]] * 3)
    labels = torch.tensor([[1, -1]] * 3)
    semantic = torch.full((3, 64, 96), 255, dtype=torch.uint8)
    image_grid = draw_batch(images, boxes=boxes, labels=labels, names=["a", "b"], semantic=semantic)
    assert image_grid.width >= 320 and np.asarray(image_grid).std() > 0
    assert draw_batch(images, most=1).size < image_grid.size
    with pytest.raises(UserError, match=r"images must be \(B, 3, H, W\) uint8, got float32"):
        draw_batch(images.float())


def test_a_batch_of_segmentation_map_is_explained_below():
    images = torch.zeros(2, 3, 64, 96, dtype=torch.uint8)
    nowhere = torch.full((2, 64, 96), 255, dtype=torch.uint8)
    plain = draw_batch(images, semantic=nowhere, names=["road", "sky"])
    explained = draw_batch(images, semantic=torch.zeros_like(nowhere), names=["road", "sky"])
    assert explained.width == plain.width and explained.height > plain.height
