"""The rasteriser: a colour canvas drawn at twice the asked size, and a label canvas drawn at the asked size.

Labels are drawn at the final size, without smoothing, so that even a line of a hair's width is whole in its mask.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from effdet.streets.marks import Mark

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
