"""Images of any mode, depth and number of channels as 8-bit RGB: one rule, for files, for images in memory, for a server.

Grey and palette images are widened to RGB; 16-bit ones are scaled to 8, floats in 0…1 to 255; an alpha channel is dropped,
not composited, as Pillow's ``convert("RGB")``, OpenCV and torchvision do; CMYK is converted by Pillow.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from heads.errors import UserError


def rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB: the one rule, for files, for images in memory, and for what a server is sent."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        grey = _from_deep(np.asarray(image))
        return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))
    if image.mode == "La":  # grey multiplied by its alpha; Pillow goes from there to LA only
        image = image.convert("LA")
    if image.mode in ("P", "PA", "RGBa") or "transparency" in image.info:
        # Through RGBA, so that Pillow does not paint the palette's transparent entry by a rule of its own.
        image = image.convert("RGBA")
    return image.convert("RGB")


def rgb_array(values: np.ndarray) -> np.ndarray:
    """The same rule for arrays.

    Args:
        values: (h, w), or (h, w, C) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels; uint8, uint16, bool,
            or float in 0…1. Alpha is dropped.

    Returns:
        (h, w, 3) uint8, contiguous.

    Raises:
        UserError: another shape or type.
    """
    channels = 1 if values.ndim == 2 else values.shape[2] if values.ndim == 3 else 0
    if channels not in (1, 2, 3, 4) or 0 in values.shape:
        hint = "; is it (3, H, W)? transpose it" if values.ndim == 3 and values.shape[0] == 3 else ""
        raise UserError(
            f"a numpy image must be (H, W, 3) RGB, (H, W, 4) RGB with alpha or (H, W) grey, got {values.shape}{hint}"
        )
    values = values.reshape(*values.shape[:2], channels)[:, :, : 1 if channels < 3 else 3]
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        values = values * np.uint8(255)
    elif kind == "u" and size == 2:
        # Grey as it is read from files; of three channels Pillow keeps the upper byte.
        values = _from_deep(values) if channels < 3 else (values >> 8).astype(np.uint8)
    elif kind == "f":
        low, high = (float(values.min()), float(values.max()))
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise UserError(
                f"a float image must lie in 0…1, got {low:.3g}…{high:.3g}: pass it as it was before normalising"
            )
        values = _from_deep(values)
    elif not (kind == "u" and size == 1):
        raise UserError(
            f"a numpy image must be uint8, uint16, bool or float in 0…1, got {values.dtype}: convert it first"
        )
    return np.ascontiguousarray(np.repeat(values, 3, axis=2) if channels < 3 else values)


def _from_deep(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit or float values of any shape -> uint8. Integers above 255 are taken as 16-bit, floats in 0…1 as such."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float32))
        scaled = values * 255 if values.size and values.min() >= 0 and values.max() <= 1 else values
    else:
        deep = (values.dtype.kind, values.dtype.itemsize) == ("u", 2)  # in either order of its bytes
        scaled = values / 257 if deep or (values.size > 0 and values.max() > 255) else values
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
