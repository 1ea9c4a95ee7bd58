"""The display list: what the parts of a scene hand to the rasteriser, in image heights (see `camera`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]
"""RGB in 0…255."""


def palette(codes: str) -> tuple[Colour, ...]:
    """Colours from codes as in HTML, ``rrggbb rrggbb …``."""
    return tuple((code[0], code[1], code[2]) for code in map(bytes.fromhex, codes.split()))


@dataclass(slots=True)
class Mark:
    """One stroke: filled polygons, a polyline or discs."""

    points: np.ndarray
    """(n, 2) one polygon or polyline, (m, n, 2) many of one colour, or for discs (n, 2) their centres."""
    colour: Colour | None
    """None: the stroke belongs to the mask alone."""
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
