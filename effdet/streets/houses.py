"""Houses along the street, cut into bays so that air dims the far ones; with gables, roofs, dormers and chimneys."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from effdet.streets.camera import Camera
from effdet.streets.facade import Style, bay, gable, make_style
from effdet.streets.light import Light
from effdet.streets.looks import tone
from effdet.streets.marks import Mark
from effdet.streets.panels import Detail, Panel, Pose, Solid, draw, quad, rect, rects, upright

_BAY = 5.0, 11.0
"""Metres of facade that are drawn as one panel, near and far."""
_FAR = 30.0
"""Metres: houses beyond have fewer details."""


class House:
    """A facade from `start` to `stop` on the ground, a body behind it."""

    def __init__(
        self,
        rng: np.random.Generator,
        start: tuple[float, float],
        stop: tuple[float, float],
        back: tuple[float, float],
        *,
        district: str,
    ) -> None:
        """`start` and `stop` are (x, z) in metres, `back` is the unit vector (x, z) from the facade into the house."""
        self.start, self.stop, self.back, self.district = start, stop, back, district
        self.seed = int(rng.integers(2**31))

    @cached_property
    def style(self) -> Style:
        return make_style(np.random.Generator(np.random.Philox(self.seed)), self.district)

    def in_sight(self, camera: Camera, half_width: float) -> bool:
        """Whether some of it may lie within the image's columns. Its body is taken to be as deep as any."""
        points = [(x + deep, z) for x, z in (self.start, self.stop) for deep in (0, self.back[0] * 14)]
        return _in_sight(points, camera, half_width)

    def marks(self, camera: Camera, light: Light, half_width: float) -> list[Mark]:
        style = self.style
        (ax, az), (bx, bz) = self.start, self.stop
        (near_x, near_z), (far_x, far_z) = (self.start, self.stop) if az <= bz else (self.stop, self.start)
        middle = ((ax + bx) / 2 + self.back[0] * 6, style.height / 2, (az + bz) / 2 + self.back[1] * 6)
        along = abs(self.back[0]) > 0.5  # the facade runs along the street
        panels: list[Panel] = []
        deep_x = self.back[0] * style.depth
        if style.roof is not None:
            panels += self._roof(along)
        if along:
            details = gable(style) if near_z < 45 else ()
            plain = tone(style.wall, 0.95)
            panels.append(upright(near_x, near_x + deep_x, 0.0, style.height, near_z, plain, middle, details))
        length = math.hypot(bx - ax, bz - az)
        bays = max(1, round(length / _BAY[near_z > _FAR]))
        for number in range(bays - 1, -1, -1) if along else range(bays):
            t0, t1 = number / bays, (number + 1) / bays
            x0, z0 = near_x + (far_x - near_x) * t0, near_z + (far_z - near_z) * t0
            x1, z1 = near_x + (far_x - near_x) * t1, near_z + (far_z - near_z) * t1
            # Skip what lies behind the camera or outside the image, before its windows are made.
            if z1 < 1.0 or not _in_sight([(x0, z0), (x1, z1)], camera, half_width):
                continue
            own = np.random.Generator(np.random.Philox([self.seed, number]))
            details = bay(style, own, length / bays, lamps=light.lit > 0.3, far=z0 > _FAR)
            corners = [(x0, 0.0, z0), (x1, 0.0, z1), (x1, style.height, z1), (x0, style.height, z0)]
            panels.append(quad(corners, style.wall, middle, details))
        return draw(Solid(tuple(panels)), Pose(0, 0), camera, light, half_width=half_width) if panels else []

    def _roof(self, along: bool) -> list[Panel]:
        """The slope that looks at the street, its dormers, a chimney, and the gable's triangle."""
        style = self.style
        assert style.roof is not None
        (ax, az), (bx, bz) = self.start, self.stop
        bx_, bz_ = self.back
        high, half = style.height, style.depth / 2
        ridge = high + half * 0.55
        length = math.hypot(bx - ax, bz - az)
        below = ((ax + bx) / 2 + bx_ * half, -60.0, (az + bz) / 2 + bz_ * half)
        eave = [
            (ax - bx_ * 0.4, high, az - bz_ * 0.4),
            (bx - bx_ * 0.4, high, bz - bz_ * 0.4),
            (bx + bx_ * half, ridge, bz + bz_ * half),
            (ax + bx_ * half, ridge, az + bz_ * half),
        ]
        slope = math.hypot(half + 0.4, ridge - high)
        tiles = rects((0, k * slope / 9, length, k * slope / 9 + 0.08) for k in range(1, 9))
        details = [Detail(tiles, tone(style.roof, 0.86))]
        for k in range(int(length // 4.5)):
            x = 2.2 + k * 4.5
            details += [
                Detail(rect(x - 0.75, slope * 0.22, x + 0.75, slope * 0.6), tone(style.trim, 0.95)),
                Detail(rect(x - 0.55, slope * 0.26, x + 0.55, slope * 0.54), style.glass, gloss=0.5),
            ]
        panels: list[Panel] = []
        near_x, near_z = self.start if az <= bz else self.stop
        if along:
            x, z = near_x + bx_ * half, near_z + 1.6
            chimney = upright(x - 0.4, x + 0.4, ridge - 0.7, ridge + 0.9, z, (132, 84, 68), (x, ridge, z + 1))
            triangle = Panel(
                (near_x, high, near_z),
                (bx_, 0.0, 0.0),
                (0.0, 1.0, 0.0),
                np.array([[0, 0], [style.depth, 0], [half, ridge - high]]),
                tone(style.wall, 0.92),
                (0.0, 0.0, -1.0),
                (Detail(rect(half - 0.4, 0.5, half + 0.4, 1.4), style.glass, gloss=0.4),),
            )
            panels += [chimney, triangle]
        return [*panels, quad(eave, style.roof, below, details)]


def _in_sight(points: list[tuple[float, float]], camera: Camera, half_width: float) -> bool:
    """Whether something that spans the (x, z) of `points` may lie within the image's columns."""
    columns = [x / max(z, 0.9) * camera.focal for x, z in points]
    return max(columns) > -half_width and min(columns) < half_width
