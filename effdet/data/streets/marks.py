"""The display list: what the parts of a scene hand to the rasteriser, in picture heights (see `camera`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]
"""RGB in 0…255."""


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


_ROUND = np.linspace(-np.pi / 2, np.pi / 2, 5)


def capsule(start: np.ndarray, end: np.ndarray, radius_start: float, radius_end: float) -> np.ndarray:
    """(10, 2) outline of a limb: two round ends of different radius, joined."""
    along = end - start
    angle = np.arctan2(along[1], along[0])
    front, back = _ROUND + angle, _ROUND + angle + np.pi
    first = np.stack([np.cos(front), np.sin(front)], 1) * radius_end + end
    second = np.stack([np.cos(back), np.sin(back)], 1) * radius_start + start
    return np.concatenate([first, second])


_UNIT = {n: np.stack([np.cos(a), np.sin(a)], 1) for n in (8, 12, 16, 24) for a in [np.arange(n) * (2 * np.pi / n)]}


def circle(n: int = 16) -> np.ndarray:
    """(n, 2) points of the unit circle, for n in 8, 12, 16, 24."""
    return _UNIT[n]
