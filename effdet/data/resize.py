"""Stretching a window of an image over its part of the canvas: training's pixels, antialiased as evaluation's are.

Pillow resizes any part of an image; PyTorch does so in a quarter of the time, but only from whole pixels, by the same
rule (triangle or cubic filter, rows and columns apart, 8 bits between them). One value in some hundred is off by a level
of 255; where the height shrinks and the width grows, Pillow begins with the other axis and it is one in ten (bilinear by
two levels at most, bicubic by ten). A random crop may as well begin at a whole pixel, so :func:`snap_to_pixels` moves it there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from effdet.data.crop import Window
from effdet.preprocess import FILTERS

SMALL = 100
"""Decoded pixels along a side below which a window keeps its fractions: there, half a pixel is much, and Pillow quick."""


def snap_to_pixels(window: Window, decoded: tuple[int, int], size: tuple[int, int]) -> Window:
    """`window` with its source moved by up to half a decoded pixel, so that it begins and ends at whole ones.

    Args:
        window: where to look; boxes must be carried by the result, not by this.
        decoded: (height, width) of the pixels, which may have been decoded smaller than
        size: (height, width) of the record, in which the source is counted.
    """
    exact = _box(window, decoded, size)
    box = tuple(round(edge) for edge in exact)
    if box == exact or min(box[2] - box[0], box[3] - box[1]) < SMALL:
        return window
    wide, high = size[1] / decoded[1], size[0] / decoded[0]
    return replace(window, source=(box[0] * wide, box[1] * high, box[2] * wide, box[3] * high))


def resize_window(image: np.ndarray, window: Window, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """The window's pixels in the target's size, mirrored if it is.

    Args:
        image: (h, w, 3) uint8 RGB, the whole image; it may have been decoded smaller than `size`.
        window: where to look, and how large it becomes.
        size: (height, width) of the record, in which the window's source is counted.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        (h, w, 3) uint8; it may be a view of `image`.
    """
    exact = _box(window, image.shape[:2], size)
    box = tuple(round(edge) for edge in exact)
    target = (window.rows.stop - window.rows.start, window.columns.stop - window.columns.start)
    if max(abs(edge - whole) for edge, whole in zip(exact, box, strict=True)) > 1e-6:
        return _flipped(Image.fromarray(image).resize(target[::-1], FILTERS[interpolation], box=exact), window)
    cut = np.ascontiguousarray(image[box[1] : box[3], box[0] : box[2]])
    pixels = torch.from_numpy(cut if cut.flags.writeable else cut.copy())[None].permute(0, 3, 1, 2)
    if pixels.shape[2:] != target:
        pixels = interpolate(pixels, target, mode=interpolation, antialias=True)
    return (pixels.flip(3) if window.mirrored else pixels)[0].permute(1, 2, 0).numpy()


def resize_mask(mask: np.ndarray, window: Window) -> np.ndarray:
    """(h, w) uint8 segmentation map -> the window's part of it in the target's size, by nearest resampling alone."""
    target = (window.columns.stop - window.columns.start, window.rows.stop - window.rows.start)
    box = _box(window, mask.shape[:2], mask.shape[:2])
    return _flipped(Image.fromarray(mask).resize(target, Image.Resampling.NEAREST, box=box), window)


def flipped(patch: np.ndarray, window: Window) -> np.ndarray:
    """`patch`, which fills the target, mirrored if the window is."""
    return _flipped(Image.fromarray(np.ascontiguousarray(patch)), window) if window.mirrored else patch


def _flipped(patch: Image.Image, window: Window) -> np.ndarray:
    # Pillow's is ten times faster than numpy's walk backwards over three-byte pixels.
    return np.asarray(patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if window.mirrored else patch)


def _box(window: Window, decoded: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of the window's source in decoded pixels."""
    high, wide = decoded[0] / size[0], decoded[1] / size[1]
    x1, y1, x2, y2 = window.source
    return (
        max(0.0, x1 * wide),
        max(0.0, y1 * high),
        min(float(decoded[1]), x2 * wide),
        min(float(decoded[0]), y2 * high),
    )
