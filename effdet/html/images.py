"""Images inside the page itself, as data URIs: no file beside it, no request to anywhere."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from effdet.html.markup import Html, tag
from effdet.pixels import rgb


def image(
    image: Image.Image | np.ndarray, *, alt: str, longest: int = 720, encoding: str = "jpeg", quality: int = 82
) -> Html:
    """An ``<img>`` that holds its image.

    Args:
        image: PIL image of any mode, or (H, W, 3) or (H, W) uint8.
        alt: what it shows, in words.
        longest: bound on its longer side in pixels; larger images are reduced, smaller ones left.
        encoding: ``jpeg`` for photographs, ``png`` for what has sharp edges or few colours.
        quality: of a JPEG, 1…95.
    """
    if encoding not in ("jpeg", "png"):
        raise ValueError(f"encoding={encoding!r} must be jpeg or png")
    drawn = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    drawn = drawn if drawn.mode in ("RGB", "L") else rgb(drawn)
    scale = longest / max(drawn.size)
    if scale < 1:
        size = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
        drawn = drawn.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC)
    return tag(
        "img", src=_data_uri(drawn, encoding, quality), alt=alt, width=drawn.width, height=drawn.height, loading="lazy"
    )


def _data_uri(image: Image.Image, encoding: str, quality: int) -> str:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": quality, "optimize": True} if encoding == "jpeg" else {"optimize": True}
    image.save(buffer, encoding, **options)
    return f"data:image/{encoding};base64,{base64.b64encode(buffer.getvalue()).decode()}"
