"""Any form of image -> (H, W, 3) uint8 RGB. Modes, depths and alpha follow the rule of the readers of data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from effdet.data.images import DECODE_ERRORS, decode_reason, read_image, zero_filled
from effdet.pixels import rgb, rgb_array
from heads.structures import UserError

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor


def as_array(image: Any) -> np.ndarray:
    """The pixels of `image`.

    Args:
        image: a path; a PIL image of any mode; a numpy array (H, W, 3), (H, W, 4) with alpha, or grey (H, W), (H, W, 1)
            or (H, W, 2), RGB order, uint8, uint16, bool or float in 0…1; a tensor (3, H, W), (4, H, W) or (1, H, W) of the
            same types. The EXIF rotation of paths and PIL images is applied.

    Returns:
        (H, W, 3) uint8 RGB, contiguous; the same for a file and for the object that was read from it.

    Raises:
        UserError: none of these, or it cannot be decoded.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.path.expanduser(os.fspath(image)))
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, torch.Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return rgb_array(image)
    raise UserError(
        f"an image must be a path, a PIL image, an array (H, W, 3) uint8 or a tensor (3, H, W), got {type(image).__name__}"
    )


def _from_pil(image: Image.Image) -> np.ndarray:
    try:
        if image.format in ("JPEG", "MPO") and zero_filled(image):
            raise OSError("cut off: the rest of the file is zeros")
        return np.array(rgb(ImageOps.exif_transpose(image)))
    except DECODE_ERRORS as error:  # Pillow reads the pixels of a file when they are first asked for
        name = getattr(image, "filename", "") or "a PIL image"
        raise UserError(f"{name}: cannot be decoded ({decode_reason(error)})") from None


def _from_tensor(tensor: torch.Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4) or 0 in tensor.shape:
        raise UserError(f"a tensor image must be (3, H, W), got {tuple(tensor.shape)}: pass a batch as a list")
    values = tensor.detach().cpu()
    if values.is_floating_point():
        values = values.float()  # numpy has no bfloat16
    elif values.dtype not in (torch.uint8, torch.uint16, torch.bool):
        raise UserError(f"a tensor image must be uint8, uint16, bool, or float in 0…1, got {values.dtype}")
    return rgb_array(values.permute(1, 2, 0).numpy())
