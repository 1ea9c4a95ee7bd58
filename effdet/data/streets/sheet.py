"""The rasteriser: a colour sheet drawn at twice the asked size, and a label sheet drawn at the asked size.

Labels are drawn at the final size, without smoothing, so that even a line of a hair's width is whole in its mask.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from .marks import Mark

SUPERSAMPLE = 2
_SHIFT = 4  # coordinates handed to OpenCV carry 4 fractional bits


class Sheet:
    """One picture being drawn: ``colour`` (S·H, S·W, 3) uint8, ``ids`` (H, W) uint16."""

    def __init__(self, height: int, width: int, *, colour: bool = True) -> None:
        self.height, self.width = height, width
        scale = SUPERSAMPLE
        self.colour = np.zeros((height * scale, width * scale, 3), np.uint8) if colour else np.zeros((1, 1, 3), np.uint8)
        self.ids = np.zeros((height, width), np.uint16)

    def _pixels(self, points: np.ndarray, scale: int) -> np.ndarray:
        """Picture heights -> fixed-point pixels of a sheet `scale` times the asked size (pixel centres at .5)."""
        unit = self.height * scale
        moved = points * unit
        moved[..., 0] += self.width * scale / 2
        return np.rint((moved - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def paint(self, marks: Iterable[Mark]) -> None:
        """Draw colours, smoothed."""
        for mark in marks:
            if mark.colour is not None:
                self._draw(self.colour, mark, SUPERSAMPLE, mark.colour, cv2.LINE_AA)

    def stamp(self, marks: Iterable[Mark], value: int) -> None:
        """Write `value` into the label sheet wherever the marks' mask is."""
        for mark in marks:
            if mark.mask:
                self._draw(self.ids, mark, 1, (value,), cv2.LINE_8)

    def _draw(self, target: np.ndarray, mark: Mark, scale: int, colour: tuple[float, ...], line: int) -> None:
        points = self._pixels(mark.points, scale)
        unit = self.height * scale
        if mark.kind == "polygon":
            cv2.fillPoly(target, points if points.ndim == 3 else [points], colour, line, _SHIFT)
        elif mark.kind == "line":
            thickness = max(1, round(mark.width * unit))
            lines = points if points.ndim == 3 else [points]
            cv2.polylines(target, lines, mark.closed, colour, thickness, line, _SHIFT)
        else:
            radius = max(0, round(mark.width * unit * (1 << _SHIFT)))
            for x, y in points.tolist():
                cv2.circle(target, (x, y), radius, colour, -1, line, _SHIFT)
