"""Laying an image on a part of the canvas, at random or as evaluation does: which part comes where, its boxes, its pixels.

Pixels are resized antialiased, as evaluation's are. Pillow resizes any part of an image; PyTorch does so in a quarter of the
time, but only from whole pixels, by the same rule (triangle or cubic filter, rows and columns apart, 8 bits between them).
One value in some hundred is off by a level of 255; where the height shrinks and the width grows, Pillow begins with the
other axis and it is one in ten (bilinear by two levels at most, bicubic by ten). A random crop may as well begin at a whole
pixel, so :func:`snap_to_pixels` moves it there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from effdet.data.records import Dataset
from effdet.preprocess import FILTERS, Preprocess
from heads.structures import UserError


@dataclass(frozen=True)
class Window:
    """A rectangle of the image, and the rectangle of the canvas on which it is stretched."""

    source: tuple[float, float, float, float]
    """x1, y1, x2, y2 in original pixels."""
    target: tuple[int, int, int, int]
    """left, top, right, bottom in input pixels."""
    mirrored: bool = False

    @property
    def rows(self) -> slice:
        return slice(self.target[1], self.target[3])

    @property
    def columns(self) -> slice:
        return slice(self.target[0], self.target[2])

    @property
    def scale(self) -> tuple[float, float]:
        """(y, x) input pixels for each original pixel."""
        x1, y1, x2, y2 = self.source
        left, top, right, bottom = self.target
        return (bottom - top) / (y2 - y1), (right - left) / (x2 - x1)

    def boxes(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Carries boxes to the canvas.

        Args:
            boxes: (N, 4) float32 xyxy, original pixels.

        Returns:
            (N, 4) float32 xyxy in input pixels, clipped to the target, and (N,) the share of each box that is left.
        """
        scale_y, scale_x = self.scale
        left, top, right, bottom = self.target
        factors = np.array([scale_x, scale_y, scale_x, scale_y])
        start = np.array([self.source[0], self.source[1], self.source[0], self.source[1]])
        whole = (boxes.astype(np.float64) - start) * factors + np.array([left, top, left, top])
        if self.mirrored:
            whole[:, [0, 2]] = left + right - whole[:, [2, 0]]
        clipped = np.clip(whole, [left, top, left, top], [right, bottom, right, bottom])
        return clipped.astype(np.float32), _area(clipped) / np.maximum(_area(whole), 1e-9)


def as_evaluated(size: tuple[int, int], preprocess: Preprocess) -> Window:
    """The window that evaluation's geometry amounts to, for an image of `size` (height, width)."""
    geometry = preprocess.place(*size).geometry
    (scale_y, scale_x), (offset_y, offset_x) = geometry.scale, geometry.offset
    height, width = geometry.canvas
    left, top = max(0, round(offset_x)), max(0, round(offset_y))
    right = min(width, round(size[1] * scale_x + offset_x))
    bottom = min(height, round(size[0] * scale_y + offset_y))
    source = (
        (left - offset_x) / scale_x,
        (top - offset_y) / scale_y,
        (right - offset_x) / scale_x,
        (bottom - offset_y) / scale_y,
    )
    return Window(source, (left, top, right, bottom))


def random_scale(
    rng: np.random.Generator,
    size: tuple[int, int],
    preprocess: Preprocess,
    *,
    scale: tuple[float, float],
    aspect: tuple[float, float],
    region: tuple[int, int, int, int] | None = None,
    centre: tuple[float, float] | None = None,
) -> Window:
    """An image of random size at a random place; what leaves the region is cropped.

    This is the scale jitter of EfficientDet (section 5.1), padded at a random side.

    Args:
        rng: the sample's generator.
        size: (height, width) of the image.
        preprocess: gives the size that counts as 1, and the canvas.
        scale: range of the factor.
        aspect: range of the stretch; width gets its root, height the inverse.
        region: left, top, right, bottom of the part of the canvas to fill; the whole canvas if None.
        centre: (y, x) in original pixels around which a crop is laid, as far as the image reaches; None crops anywhere.
    """
    left, top, right, bottom = region or (0, 0, preprocess.size[1], preprocess.size[0])
    base_y, base_x = preprocess.place(*size).geometry.scale
    factor = rng.uniform(*scale)
    stretch = np.sqrt(np.exp(rng.uniform(*np.log(aspect))))
    middle_y, middle_x = (None, None) if centre is None else centre
    rows = _along(rng, size[0], base_y * factor / stretch, top, bottom, middle_y)
    columns = _along(rng, size[1], base_x * factor * stretch, left, right, middle_x)
    return Window((columns[0], rows[0], columns[1], rows[1]), (columns[2], rows[2], columns[3], rows[3]))


def random_area(
    rng: np.random.Generator,
    size: tuple[int, int],
    canvas: tuple[int, int],
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    centre: tuple[float, float] | None = None,
) -> Window:
    """A random part of the image, stretched over the canvas; around `centre` as in :func:`random_scale`."""
    height, width = size
    share = rng.uniform(*area) * height * width
    ratio = np.exp(rng.uniform(*np.log(aspect))) * canvas[1] / canvas[0]
    wide, high = min(float(width), np.sqrt(share * ratio)), min(float(height), np.sqrt(share / ratio))
    if centre is None:
        x1, y1 = rng.uniform(0, width - wide), rng.uniform(0, height - high)
    else:
        x1 = float(np.clip(centre[1] - wide / 2, 0, width - wide))
        y1 = float(np.clip(centre[0] - high / 2, 0, height - high))
    return Window((x1, y1, x1 + wide, y1 + high), (0, 0, canvas[1], canvas[0]))


def random_shift(rng: np.random.Generator, window: Window, canvas: tuple[int, int], share: float) -> Window:
    """`window` moved by up to `share` of the `canvas` (height, width) along each axis; what leaves it is cut off.

    The same as padding the canvas by that share on every side and cropping it at a random place.
    """
    (x1, y1, x2, y2), (left, top, right, bottom) = window.source, window.target
    scale_y, scale_x = window.scale
    reach_y, reach_x = round(share * canvas[0]), round(share * canvas[1])
    rows = _moved(y1, y2, top, bottom, scale_y, int(rng.integers(-reach_y, reach_y + 1)), canvas[0])
    columns = _moved(x1, x2, left, right, scale_x, int(rng.integers(-reach_x, reach_x + 1)), canvas[1])
    return replace(
        window, source=(columns[0], rows[0], columns[1], rows[1]), target=(columns[2], rows[2], columns[3], rows[3])
    )


def _moved(
    start: float, end: float, low: int, high: int, scale: float, by: int, limit: int
) -> tuple[float, float, int, int]:
    """One axis of :func:`random_shift`: source start and end, target start and end."""
    low, high = low + by, high + by
    over_low, over_high = max(0, -low), max(0, high - limit)
    if high - over_high - (low + over_low) < 1:  # moved out altogether: an image that fills little of its canvas
        return start, end, low - by, high - by
    return start + over_low / scale, end - over_high / scale, low + over_low, high - over_high


def mirror(window: Window) -> Window:
    return replace(window, mirrored=not window.mirrored)


def _along(
    rng: np.random.Generator, length: int, scale: float, low: int, high: int, centre: float | None = None
) -> tuple[float, float, int, int]:
    """One axis of :func:`random_scale`: source start and end, target start and end."""
    scaled, room = max(1, round(length * scale)), high - low
    ratio = scaled / length
    if scaled > room:
        if centre is None:
            start = int(rng.integers(0, scaled - room + 1))
        else:
            start = min(max(round(centre * ratio - room / 2), 0), scaled - room)
        return start / ratio, (start + room) / ratio, low, high
    start = low + int(rng.integers(0, room - scaled + 1))
    return 0.0, float(length), start, start + scaled


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


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
    """(h, w) uint8 segmentation map -> the window's part of it in the target's size, by nearest resampling only."""
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


class ClassCrop:
    """Draws a pixel of an image's mask: first a class, the rarer in the set the likelier, then one of its pixels.

    A class with the share f of the set's labelled pixels has the weight 1 / √f among the classes of an image. (With 1 / f
    the rarest class of an image would take nearly all crops, and the common ones would never lie in their middle.)
    """

    def __init__(self, source: Dataset) -> None:
        pixels = source.records.class_pixels
        if pixels is None:
            raise UserError(
                f"augment.class_crop crops around pixels of rare classes, and data={source.name} has no masks: set it to 0"
            )
        self.source = source
        self.present = pixels > 0
        """(P, K) bool."""
        shares = pixels.sum(0) / max(1, int(pixels.sum()))
        self.weights = 1 / np.sqrt(np.maximum(shares, 1e-12))
        """(K,) float64."""

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[float, float] | None:
        """(y, x) of the drawn pixel's centre, original pixels; None for an image without a mask."""
        weights = np.where(self.present[index], self.weights, 0)
        if not weights.any():
            return None
        chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
        mask = self.source.read_mask(self.source.records[index])
        assert mask is not None, "an image with class pixels has a mask"
        pixels = np.flatnonzero(mask == chosen)
        if len(pixels) == 0:
            return None  # the file has changed since it was checked
        row, column = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
        return row + 0.5, column + 0.5
