"""Contact sheets: many images in one, and a batch with its boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from effdet.drawing.draw import ImageLike, as_image, as_numpy, class_entries, draw
from effdet.drawing.style import INK, PAPER, font, shortened, with_legend
from heads.structures import UserError


def grid(
    images: Sequence[ImageLike],
    *,
    columns: int | None = None,
    cell: tuple[int, int] | None = None,
    captions: Sequence[str] | None = None,
    gap: int | None = None,
) -> Image.Image:
    """Images in rows and columns, each fitted into an equal cell with its aspect kept.

    Args:
        images: at least one; sizes may differ.
        columns: None makes the image grid about as wide as high.
        cell: (width, height) pixels of a cell; None takes the largest width and the largest height of the images.
        captions: a line under each image.
        gap: pixels between cells; None takes a fiftieth of the cell.
    """
    if not images:
        raise UserError("an image grid needs at least one image")
    if captions is not None and len(captions) != len(images):
        raise UserError(f"there are {len(images)} images and {len(captions)} captions: they must be equally many")
    shown = [as_image(image) for image in images]
    width, height = cell or (max(p.width for p in shown), max(p.height for p in shown))
    columns = columns or max(1, round(math.sqrt(len(shown) * height / width)))
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    gap = max(2, min(width, height) // 50) if gap is None else gap
    letters = max(10, min(width, height) // 24)
    strip = round(letters * 1.6) if captions else 0

    image_grid = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + strip + gap) + gap), PAPER)
    pen = ImageDraw.Draw(image_grid)
    for index, image in enumerate(shown):
        x = gap + index % columns * (width + gap)
        y = gap + index // columns * (height + strip + gap)
        ratio = min(width / image.width, height / image.height)
        size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        if size != image.size:
            image = image.resize(size, Image.Resampling.LANCZOS if ratio < 1 else Image.Resampling.BICUBIC)
        image_grid.paste(image, (x + (width - size[0]) // 2, y + (height - size[1]) // 2))
        if captions:
            text = shortened(captions[index], width, letters, from_start=True)
            pen.text((x + width / 2, y + height + strip / 2), text, fill=INK, font=font(letters), anchor="mm")
    return image_grid


def draw_batch(
    images: Any,
    *,
    boxes: Any = None,
    labels: Any = None,
    scores: Any = None,
    names: Sequence[str | None] | None = None,
    semantic: Any = None,
    semantic_names: Sequence[str | None] | None = None,
    most: int = 16,
    least_side: int = 320,
) -> Image.Image:
    """One image grid of a batch with what it is trained on, or what was found in it; segmentation maps are explained below it.

    Args:
        images: (B, 3, H, W) uint8 RGB, tensor or array.
        boxes: (B, M, 4) xyxy in pixels of `images`; padded rows have label -1.
        labels: (B, M).
        scores: (B, M) 0…1.
        names: class names of the boxes.
        semantic: (B, H, W) segmentation maps, 255 left clear.
        semantic_names: class names of the maps, where they are not `names`.
        most: the largest number of images that are drawn.
        least_side: images under this are enlarged first, so that labels have room.
    """
    pixels = as_numpy(images)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"images must be (B, 3, H, W) uint8, got {pixels.dtype} {pixels.shape}")
    factor = max(1, math.ceil(least_side / max(pixels.shape[2:])))
    drawn = []
    for index in range(min(most, len(pixels))):
        image = Image.fromarray(np.ascontiguousarray(pixels[index].transpose(1, 2, 0)))
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
        classes = None if semantic is None else np.kron(as_numpy(semantic[index]), np.ones((factor, factor), np.uint8))
        scaled = None if boxes is None else as_numpy(boxes[index]) * factor
        own, sure = (None if values is None else values[index] for values in (labels, scores))
        drawn.append(draw(image, scaled, own, sure, names, semantic=classes, semantic_names=semantic_names))
    image_grid = grid(drawn)
    if semantic is None:
        return image_grid
    map_names = semantic_names if semantic_names is not None else names
    entries = class_entries(as_numpy(semantic[: len(drawn)]), map_names)
    return with_legend(image_grid, entries) if entries else image_grid
