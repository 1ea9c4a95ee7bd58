"""Laying an image on a part of the canvas, at random or as evaluation does: which part comes where, and its boxes.

The pixels of a window are :mod:`effdet.data.resize`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from effdet.preprocess import Preprocess


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
    resize_window = np.sqrt(np.exp(rng.uniform(*np.log(aspect))))
    middle_y, middle_x = (None, None) if centre is None else centre
    rows = _along(rng, size[0], base_y * factor / resize_window, top, bottom, middle_y)
    columns = _along(rng, size[1], base_x * factor * resize_window, left, right, middle_x)
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
