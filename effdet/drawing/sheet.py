"""Contact sheets: many pictures in one, and a batch with its boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from effdet.drawing.draw import Picture, as_picture, class_entries, draw
from effdet.drawing.legend import INK, PAPER, with_legend
from effdet.drawing.style import font
from heads.structures import UserError


def grid(
    images: Sequence[Picture],
    *,
    columns: int | None = None,
    cell: tuple[int, int] | None = None,
    captions: Sequence[str] | None = None,
    gap: int | None = None,
) -> Image.Image:
    """Pictures in rows and columns, each fitted into an equal cell with its aspect kept.

    Args:
        images: at least one; sizes may differ.
        columns: None makes the sheet about as wide as high.
        cell: (width, height) pixels of a cell; None takes the largest width and the largest height of the pictures.
        captions: a line under each picture.
        gap: pixels between cells; None takes a fiftieth of the cell.
    """
    if not images:
        raise UserError("a sheet needs at least one picture")
    if captions is not None and len(captions) != len(images):
        raise UserError(f"there are {len(images)} pictures and {len(captions)} captions: they must be equally many")
    pictures = [as_picture(image) for image in images]
    width, height = cell or (max(p.width for p in pictures), max(p.height for p in pictures))
    columns = columns or max(1, round(math.sqrt(len(pictures) * height / width)))
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    gap = max(2, min(width, height) // 50) if gap is None else gap
    letters = max(10, min(width, height) // 24)
    strip = round(letters * 1.6) if captions else 0

    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + strip + gap) + gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        x = gap + index % columns * (width + gap)
        y = gap + index // columns * (height + strip + gap)
        ratio = min(width / picture.width, height / picture.height)
        size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.LANCZOS if ratio < 1 else Image.Resampling.BICUBIC)
        sheet.paste(picture, (x + (width - size[0]) // 2, y + (height - size[1]) // 2))
        if captions:
            text = _cut(captions[index], width, letters)
            pen.text((x + width / 2, y + height + strip / 2), text, fill=INK, font=font(letters), anchor="mm")
    return sheet


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
    """One sheet of a batch with what it is taught, or what was found in it; class maps are explained below it.

    Args:
        images: (B, 3, H, W) uint8 RGB, tensor or array.
        boxes: (B, M, 4) xyxy in pixels of `images`; padded rows have label -1.
        labels: (B, M).
        scores: (B, M) 0…1.
        names: class names of the boxes.
        semantic: (B, H, W) class maps, 255 left clear.
        semantic_names: class names of the maps, where they are not `names`.
        most: draw at most so many pictures.
        least_side: pictures under this are enlarged first, so that labels have room.
    """
    pixels = _numpy(images)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"images must be (B, 3, H, W) uint8, got {pixels.dtype} {pixels.shape}")
    factor = max(1, math.ceil(least_side / max(pixels.shape[2:])))
    drawn = []
    for index in range(min(most, len(pixels))):
        picture = Image.fromarray(np.ascontiguousarray(pixels[index].transpose(1, 2, 0)))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
        classes = None if semantic is None else np.kron(_numpy(semantic[index]), np.ones((factor, factor), np.uint8))
        drawn.append(
            draw(
                picture,
                None if boxes is None else _numpy(boxes[index]) * factor,
                None if labels is None else labels[index],
                None if scores is None else scores[index],
                names,
                semantic=classes,
                semantic_names=semantic_names,
            )
        )
    sheet = grid(drawn)
    if semantic is None:
        return sheet
    map_names = semantic_names if semantic_names is not None else names
    entries = class_entries(_numpy(semantic[: len(drawn)]), map_names)
    return with_legend(sheet, entries) if entries else sheet


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _cut(text: str, room: float, letters: int) -> str:
    face = font(letters)
    if face.getlength(text) <= room:
        return text
    while len(text) > 1 and face.getlength("…" + text) > room:
        text = text[1:]
    return "…" + text
