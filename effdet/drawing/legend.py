"""A strip of colour samples and class names below an image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from effdet.drawing.colours import Colour
from effdet.drawing.style import Style, font

PAPER: Colour = (24, 26, 30)
INK: Colour = (236, 238, 240)


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
