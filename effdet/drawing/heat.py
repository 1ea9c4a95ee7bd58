"""A heat map over an image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from effdet.drawing.draw import ImageLike, as_image
from heads.structures import UserError

STOPS = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float64)
"""RGB from cold to hot in equal steps; lightness rises throughout, so that it reads in grey and to the colour-blind."""


def with_heat(image: ImageLike, heat: np.ndarray, *, alpha: float = 0.55) -> Image.Image:
    """A copy of `image` with `heat` laid over it.

    Args:
        image: PIL image or (H, W, 3) uint8 RGB.
        heat: (H, W) float, 0 … 1; numbers beyond are clipped.
        alpha: 0…1, how much of the heat's colour covers the image; cold places are left clearer than hot ones.
    """
    base = as_image(image)
    values = np.clip(np.nan_to_num(np.asarray(heat, np.float64)), 0, 1)
    if values.shape != (base.height, base.width):
        raise UserError(f"heat is {values.shape} and the image ({base.height}, {base.width}): sizes must agree")
    steps = np.linspace(0, 1, len(STOPS))
    colours = np.stack([np.interp(values, steps, STOPS[:, channel]) for channel in range(3)], axis=-1)
    cover = (alpha * (0.35 + 0.65 * values))[..., None]
    return Image.fromarray((np.asarray(base) * (1 - cover) + colours * cover).round().astype(np.uint8))
