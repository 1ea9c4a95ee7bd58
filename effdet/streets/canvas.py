"""From places in space to pixels: the camera, the strokes that the parts of a scene hand over, and the rasteriser.

Frames. World: metres, x to the right, y up, z forward, the camera above the origin. Image: u to the right of the
middle column and v down from the top row, both in image *heights*, so that a scene is the same at every size.

Colours are drawn at twice the asked size. Labels are drawn at the final size, without smoothing, so that even a line of a
hair's width is whole in its mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

Colour = tuple[float, float, float]
"""RGB in 0…255."""


def palette(codes: str) -> tuple[Colour, ...]:
    """Colours from codes as in HTML, ``rrggbb rrggbb …``."""
    return tuple((code[0], code[1], code[2]) for code in map(bytes.fromhex, codes.split()))


NEAR = 0.8
"""Metres: nothing nearer than this is projected."""
_FAR_OFF = 12.0
"""Image heights: coordinates are clipped to this, to keep the rasteriser's integers small."""


@dataclass(frozen=True)
class Camera:
    focal: float
    """Focal length in image heights (1.0 sees 53 degrees from top to bottom)."""
    horizon: float
    """Row of the horizon, in image heights from the top."""
    height: float
    """Height above the ground in metres."""

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) world -> (..., 2) image."""
        depth = np.maximum(points[..., 2], NEAR)
        scale = self.focal / depth
        out = np.empty((*points.shape[:-1], 2))
        out[..., 0] = points[..., 0] * scale
        out[..., 1] = self.horizon + (self.height - points[..., 1]) * scale
        return np.clip(out, -_FAR_OFF, _FAR_OFF, out=out)

    def size(self, metres: float, depth: float) -> float:
        """What a length at a depth measures in the image, in image heights."""
        return metres * self.focal / max(depth, NEAR)

    def ground_depth(self, rows: np.ndarray) -> np.ndarray:
        """Depth in metres of the ground seen in each row (image heights); infinite at and above the horizon."""
        below = np.asarray(rows) - self.horizon
        return np.where(below > 1e-4, self.focal * self.height / np.maximum(below, 1e-4), np.inf)

    @property
    def nearest_ground(self) -> float:
        """Depth in metres of the ground at the bottom row."""
        return self.focal * self.height / (1.0 - self.horizon)


@dataclass(slots=True)
class Mark:
    """One stroke: filled polygons, a polyline or discs."""

    points: np.ndarray
    """(n, 2) one polygon or polyline, (m, n, 2) many of one colour, or for discs (n, 2) their centres."""
    colour: Colour | None
    """None: the stroke belongs only to the mask."""
    mask: bool = True
    """Whether the stroke counts as part of its object in the label map."""
    kind: Literal["polygon", "line", "disc"] = "polygon"
    width: float = 0.0
    """Width of a line, or radius of a disc."""
    closed: bool = False


Glow = tuple[np.ndarray, float, Colour, float]
"""A lamp that shines at the camera: (point, radius) in image heights, colour, depth in metres."""

_CAP_X, _CAP_Y = np.cos(np.linspace(-np.pi / 2, np.pi / 2, 5)), np.sin(np.linspace(-np.pi / 2, np.pi / 2, 5))


def capsule(start: np.ndarray, end: np.ndarray, radius_start: float, radius_end: float) -> np.ndarray:
    """(10, 2) outline of a limb: two round ends of different radius, joined."""
    (x0, y0), (x1, y1) = start.tolist(), end.tolist()
    dx, dy = x1 - x0, y1 - y0
    long = math.sqrt(dx * dx + dy * dy)
    cos, sin = (dx / long, dy / long) if long > 1e-12 else (1.0, 0.0)
    out = np.empty((10, 2))
    rotated_x, rotated_y = _CAP_X * cos - _CAP_Y * sin, _CAP_X * sin + _CAP_Y * cos
    out[:5, 0], out[:5, 1] = rotated_x * radius_end + x1, rotated_y * radius_end + y1
    out[5:, 0], out[5:, 1] = x0 - rotated_x * radius_start, y0 - rotated_y * radius_start
    return out


_UNIT = {n: np.stack([np.cos(a), np.sin(a)], 1) for n in (8, 12, 16, 24) for a in [np.arange(n) * (2 * np.pi / n)]}


def circle(n: int = 16) -> np.ndarray:
    """(n, 2) points of the unit circle, for n in 8, 12, 16, 24."""
    return _UNIT[n]


SUPERSAMPLE = 2
_SHIFT = 4  # coordinates handed to OpenCV carry 4 fractional bits


class Canvas:
    """One image being drawn: ``colour`` (S·H, S·W, 3) uint8, ``ids`` (H, W) uint16."""

    def __init__(self, height: int, width: int, *, colour: bool = True) -> None:
        self.height, self.width = height, width
        scale = SUPERSAMPLE
        self.colour = (
            np.zeros((height * scale, width * scale, 3), np.uint8) if colour else np.zeros((1, 1, 3), np.uint8)
        )
        self.ids = np.zeros((height, width), np.uint16)

    def paint(self, marks: Iterable[Mark]) -> None:
        """Draw colours, smoothed."""
        chosen = [mark for mark in marks if mark.colour is not None]
        for mark, points in zip(chosen, self._pixels(chosen, SUPERSAMPLE), strict=True):
            self._draw(self.colour, mark, points, SUPERSAMPLE, mark.colour, cv2.LINE_AA)  # type: ignore[arg-type]

    def stamp(self, marks: Iterable[Mark], value: int) -> None:
        """Write `value` into the label canvas wherever the marks' mask is."""
        chosen = [mark for mark in marks if mark.mask]
        for mark, points in zip(chosen, self._pixels(chosen, 1), strict=True):
            self._draw(self.ids, mark, points, 1, (value,), cv2.LINE_8)

    def _pixels(self, marks: list[Mark], scale: int) -> list[np.ndarray]:
        """Image heights -> fixed-point pixels of a canvas `scale` times the asked size (pixel centres at .5)."""
        if not marks:
            return []
        shapes = [mark.points.shape for mark in marks]
        flat = np.concatenate([mark.points.reshape(-1, 2) for mark in marks])
        one = 1 << _SHIFT
        flat *= self.height * scale * one
        flat += [(self.width * scale / 2 - 0.5) * one, -0.5 * one]
        whole = np.rint(flat, out=flat).astype(np.int32)
        parts: list[np.ndarray] = []
        start = 0
        for shape in shapes:
            count = shape[0] if len(shape) == 2 else shape[0] * shape[1]
            parts.append(whole[start : start + count].reshape(shape))
            start += count
        return parts

    def _draw(
        self, target: np.ndarray, mark: Mark, points: np.ndarray, scale: int, colour: tuple[float, ...], line: int
    ) -> None:
        unit = self.height * scale
        if mark.kind == "polygon":
            cv2.fillPoly(target, _several(points), colour, line, _SHIFT)
        elif mark.kind == "line":
            thickness = max(1, round(mark.width * unit))
            cv2.polylines(target, _several(points), mark.closed, colour, thickness, line, _SHIFT)
        else:
            radius = max(0, round(mark.width * unit * (1 << _SHIFT)))
            for x, y in points.tolist():
                cv2.circle(target, (x, y), radius, colour, -1, line, _SHIFT)


def _several(points: np.ndarray) -> list[np.ndarray]:
    """(m, n, 2) or (n, 2) -> the shapes one by one, as OpenCV takes them."""
    return list(points) if points.ndim == 3 else [points]
