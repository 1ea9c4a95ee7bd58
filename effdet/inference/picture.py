"""Any form of picture -> (H, W, 3) uint8 RGB."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from effdet.data.images import read_image
from heads.structures import UserError

PictureLike = str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor


def as_array(picture: Any) -> np.ndarray:
    """The pixels of `picture`.

    Args:
        picture: a path; a PIL picture of any mode; a numpy array (H, W, 3) or grey (H, W), uint8, RGB order; a tensor
            (3, H, W), uint8 or float in 0…1. The EXIF rotation of paths and PIL pictures is applied.

    Returns:
        (H, W, 3) uint8 RGB, contiguous.
    """
    if isinstance(picture, (str, os.PathLike)):
        return read_image(os.path.expanduser(os.fspath(picture)))
    if isinstance(picture, Image.Image):
        return _from_pil(picture)
    if isinstance(picture, torch.Tensor):
        return _from_tensor(picture)
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    raise UserError(
        f"a picture must be a path, a PIL picture, an array (H, W, 3) uint8 or a tensor (3, H, W), got {type(picture).__name__}"
    )


def _from_pil(picture: Image.Image) -> np.ndarray:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # `convert` would cut 16 bits off at 255
        return _from_array(np.round(np.asarray(picture) / 257).astype(np.uint8))
    return np.array(picture.convert("RGB"))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise UserError(f"a numpy picture must be uint8 in 0…255, got {array.dtype}: convert it first")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        hint = "; is it (3, H, W)? transpose it" if array.ndim == 3 and array.shape[0] == 3 else ""
        raise UserError(f"a numpy picture must be (H, W, 3) RGB or (H, W) grey, got {array.shape}{hint}")
    return np.ascontiguousarray(array)


def _from_tensor(tensor: torch.Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] != 3 or 0 in tensor.shape:
        raise UserError(f"a tensor picture must be (3, H, W), got {tuple(tensor.shape)}: pass a batch as a list")
    values = tensor.detach().cpu()
    if values.is_floating_point():
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise UserError(
                f"a float tensor picture must lie in 0…1, got {low:.3g}…{high:.3g}: pass it as it was before normalising"
            )
        values = (values.float() * 255).round().to(torch.uint8)
    elif values.dtype != torch.uint8:
        raise UserError(f"a tensor picture must be uint8, or float in 0…1, got {values.dtype}")
    return values.permute(1, 2, 0).contiguous().numpy()
