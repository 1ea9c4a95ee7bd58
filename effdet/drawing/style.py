"""Sizes of lines and letters from an image's size, so that a drawing looks the same at 200 px and at 4K."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageFont


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
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own scalable font: no file to look for, the same on every machine."""
    return ImageFont.load_default(size)
