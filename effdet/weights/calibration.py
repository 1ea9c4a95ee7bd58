"""Images to measure statistics on: the user's, or the package's own where there are none.

The package's own, ``calibration.jpg``, are generated: noise whose pixels were optimised until the BatchNorms of EfficientDet-
Lite0 and Lite1 see in them the means and variances that they see in natural images (``benchmarks/calibration_images.py``). They
show nothing, and no pixel of a natural image is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from effdet.pixels import rgb
from effdet.preprocess import Preprocess
from effdet.weights.statistics import BATCH
from heads.structures import UserError

Images = Iterable[Any] | Callable[[], Iterable[Any]]
"""Paths, PIL images or (h, w, 3) uint8 RGB arrays of any size; or a function that gives them, called when they are needed."""
ROWS, COLUMNS, SIDE = 2, 4, 320
"""Tiles of the package's file, and their side in pixels."""
LARGEST = 640
"""Side of the largest canvas that they are brought to: statistics hardly depend on it, time does."""


def calibration_batches(images: Images | None, preprocess: Preprocess) -> Iterator[Tensor]:
    """(B, 3, H, W) float32 batches on the model's canvas, normalised.

    Args:
        images: the user's; None for generated ones.

    Raises:
        UserError: there are none, or one is none of the kinds of :data:`Images`.
    """
    if images is None:
        canvases: Iterable[np.ndarray] = generated(preprocess.size)
    else:
        passed = images() if callable(images) else images
        canvases = (preprocess.geometry(_array(image))[0] for image in passed)
    batch: list[np.ndarray] = []
    found = False
    for canvas in canvases:
        found = True
        batch.append(canvas)
        if len(batch) == BATCH:
            yield _normalised(batch, preprocess)
            batch = []
    if batch:
        yield _normalised(batch, preprocess)
    if not found:
        raise UserError("images= gave no image that can be read; give some, or None for generated ones")


def _normalised(canvases: list[np.ndarray], preprocess: Preprocess) -> Tensor:
    return preprocess.normalise(torch.from_numpy(np.stack(canvases).transpose(0, 3, 1, 2).copy()))


def _array(image: Any) -> np.ndarray:
    if isinstance(image, (str, Path)):
        with Image.open(image) as opened:
            image = rgb(ImageOps.exif_transpose(opened))
    if isinstance(image, Image.Image):
        image = np.asarray(rgb(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f" {image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else ""
        raise UserError(
            f"images: got a {type(image).__name__}{shape}; give paths, PIL images or (h, w, 3) uint8 RGB arrays"
        )
    return image


def generated(size: tuple[int, int]) -> list[np.ndarray]:
    """The package's own images on a canvas of (height, width) pixels, or one of its aspect with no side over `LARGEST`."""
    share = min(1.0, LARGEST / max(size))
    width, height = max(1, round(size[1] * share)), max(1, round(size[0] * share))
    with Image.open(Path(__file__).with_name("calibration.jpg")) as file:
        rgb = file.convert("RGB")
    boxes = [(x, y, x + SIDE, y + SIDE) for y in range(0, ROWS * SIDE, SIDE) for x in range(0, COLUMNS * SIDE, SIDE)]
    return [np.asarray(rgb.crop(box).resize((width, height), Image.Resampling.BILINEAR)) for box in boxes]
