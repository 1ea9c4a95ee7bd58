"""Sizes of lines and letters from an image's size, so that a drawing looks the same at 200 px and at 4K; the legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from effdet.drawing.colours import Colour

PAPER: Colour = (24, 26, 30)
INK: Colour = (236, 238, 240)


@dataclass(frozen=True)
class Style:
    """All lengths in pixels of the image that is drawn on."""

    line: int
    font: int
    pad: int
    """Room round a label's text."""
    corner: int
    """Radius of rounded corners."""

    @classmethod
    def fitting(cls, width: int, height: int) -> Style:
        """Sizes for an image: 1 px lines and 10 px letters at 200 px, 7 px and 40 px at 4K."""
        side = math.sqrt(width * height)
        font = max(10, round(6.5 + 0.0118 * side))
        return cls(
            line=max(1, round(0.6 + 0.0023 * side)),
            font=font,
            pad=max(1, round(font * 0.22)),
            corner=max(1, round(font * 0.28)),
        )


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font: no file to look for, the same on every machine."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


def shortened(text: str, room: float, size: int, *, from_start: bool = False) -> str:
    """`text` without its last letters, or its first ones, so that it is no wider than `room` pixels."""
    face = font(size)
    if face.getlength(text) <= room:
        return text
    before, behind = ("…", "") if from_start else ("", "…")
    while len(text) > 1 and face.getlength(before + text + behind) > room:
        text = text[1:] if from_start else text[:-1]
    return before + (text if from_start else text.rstrip()) + behind


def with_legend(image: Image.Image, entries: Sequence[tuple[str, Colour]]) -> Image.Image:
    """`image` with a strip below that names its colours, in as many rows as they need."""
    style = Style.fitting(*image.size)
    gap, square = style.font // 2 + 2, round(style.font * 0.8)
    line = round(style.font * 1.5)
    face = font(style.font)
    positions, x, row = [], gap, 0
    for name, _ in entries:
        width = square + gap // 2 + face.getlength(name) + 2 * gap
        if x > gap and x + width - gap > image.width:
            x, row = gap, row + 1
        positions.append((x, row))
        x += width
    strip = Image.new("RGB", (image.width, (row + 1) * line + gap), PAPER)
    pen = ImageDraw.Draw(strip)
    for (name, colour), (start, row) in zip(entries, positions, strict=True):
        middle = gap / 2 + (row + 0.5) * line
        box = (round(start), round(middle - square / 2), round(start) + square, round(middle + square / 2))
        pen.rounded_rectangle(box, max(1, style.corner // 2), fill=colour)
        pen.text((box[2] + gap // 2, middle), name, fill=INK, font=face, anchor="lm")
    whole = Image.new("RGB", (image.width, image.height + strip.height), PAPER)
    whole.paste(image, (0, 0))
    whole.paste(strip, (0, image.height))
    return whole
