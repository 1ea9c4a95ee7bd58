"""Houses along the street, cut into bays so that air dims the far ones: facades, gables, roofs, dormers and chimneys.

What stands on a facade are details in metres from its lower left corner.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from effdet.streets.canvas import Camera, Colour, Mark, palette
from effdet.streets.light import Light
from effdet.streets.looks import pick, tone, vary
from effdet.streets.panels import Detail, Panel, Place, Pose, Solid, draw, quad, rect, rects, upright

_BAY = 5.0, 11.0
"""Metres of facade that are drawn as one panel, near and far."""
_FAR = 30.0
"""Metres: houses beyond have fewer details."""
_PLASTER = palette("ded0b2 ccae84 bebeba d4a68e e6ded0 ae9a7e c4cabe dcc27e ce785c 98b0ba")
_BRICK = palette("9a5640 844e3e ac6c50 785a4e")
_OFFICE = palette("9ea4aa 7e868e c0c0bc 68727c 8e7868")
_SHOP = palette("b02428 1e4a82 246c4e e8b838 3c2c46 e0ded6 d2682c 1a1a1e")
_ROOF = palette("944c36 5c504c 50545c 7c4234")
_SHUTTER = palette("3e604a 783c30 46546e")
_WARM = palette("ffd27c ffe6ae f0be68 d8e4f2")
_UNIT = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
_STYLES = {"city": (0.45, 0.2, 0.35), "town": (0.62, 0.3, 0.08), "suburb": (0.7, 0.3, 0.0)}


class Style:
    """How a house is built. Lengths in metres."""

    def __init__(self, rng: np.random.Generator, district: str) -> None:
        self.kind = ("plaster", "brick", "office")[int(rng.choice(3, p=_STYLES[district]))]
        plaster, office = self.kind == "plaster", self.kind == "office"
        self.wall = pick(rng, {"plaster": _PLASTER, "brick": _BRICK, "office": _OFFICE}[self.kind], 12)
        chance = rng.random(6)
        roofed = not office and chance[2] < {"city": 0.4, "town": 0.75, "suburb": 1.0}[district]
        self.trim: Colour = tone(self.wall, 1.18) if chance[0] < 0.6 else (234, 231, 224)
        self.glass = vary(rng, (60, 72, 84), 12)
        self.sign = pick(rng, _SHOP, 10)
        self.inside = _WARM[int(rng.integers(len(_WARM)))]
        self.shutter = pick(rng, _SHUTTER, 10) if plaster and chance[1] < 0.35 else None
        self.roof = pick(rng, _ROOF, 8) if roofed else None
        floors = {"city": rng.integers(4, 9), "town": rng.integers(2, 5), "suburb": rng.integers(1, 3)}
        self.floors, self.storey = int(floors[district]), float(rng.uniform(2.9, 3.4))
        self.shop = bool(chance[3] < {"city": 0.75, "town": 0.55, "suburb": 0.04}[district])
        self.awning = bool(chance[4] < 0.45)
        self.balconies = bool(not office and chance[5] < 0.3)
        self.pitch = float(rng.uniform(1.8, 2.9))
        self.wide = float(rng.uniform(0.72, 0.92) if office else rng.uniform(0.42, 0.6))
        self.tall = float(rng.uniform(0.55, 0.8) if office else rng.uniform(0.48, 0.62))
        """Windows: from one to the next, and their size as shares of that and of a storey."""
        self.lit_share = float(rng.uniform(0.12, 0.5))
        self.depth = float(rng.uniform(8, 14))
        self.base = 3.6 if self.shop else 0.9
        """Height of the ground floor."""
        self.height = self.base + self.storey * self.floors


def bay(style: Style, rng: np.random.Generator, width: float, *, lamps: bool, far: bool) -> list[Detail]:
    """The details of `width` metres. `lamps`: some windows are lit; `far`: leave out what is too small to be seen."""
    details: list[Detail] = []
    columns = max(1, round(width / style.pitch))
    pitch = width / columns
    w, h = pitch * style.wide, style.storey * style.tall
    y = style.base + (np.arange(style.floors) + 0.5) * style.storey
    grid = np.stack(np.meshgrid((np.arange(columns) + 0.5) * pitch, y), -1).reshape(-1, 1, 2)
    office = style.kind == "office"
    if office:
        bands = rects((0, value - h * 0.62, width, value + h * 0.62) for value in y.tolist())
        details.append(Detail(bands, tone(style.wall, 0.8)))
    else:
        if not far and style.kind == "brick":
            levels = np.arange(style.base + 0.4, style.height, 0.8)
            details.append(Detail(rects((0, level, width, level + 0.05) for level in levels), tone(style.wall, 0.93)))
        storeys = style.floors if style.balconies or style.kind == "plaster" else 1
        levels = [style.base + k * style.storey for k in range(storeys)]
        lines = rects((0, line - 0.12, width, line + 0.06) for line in levels)
        details.append(Detail(lines, tone(style.trim, 0.95)))
    details.append(Detail(rect(0, style.height - 0.45, width, style.height - 0.1), tone(style.wall, 0.82)))
    details.append(Detail(rect(0, style.height - 0.18, width, style.height), tone(style.trim, 1.05)))
    if not far:
        details.append(Detail(grid + _UNIT * [w + 0.16, h + 0.18], tone(style.wall, 0.65) if office else style.trim))
    details += _panes(style, rng, grid, w, h, lamps=lamps, far=far)
    if not far and not office:  # mullions and sills
        for size, shift, colour, gain in (
            ([w * 0.09, h], 0.0, style.trim, 0.9),
            ([w, h * 0.06], h * 0.18, style.trim, 0.9),
            ([w + 0.34, 0.14], -(h / 2 + 0.1), style.trim, 1.05),
            ([w + 0.3, 0.1], -(h / 2 + 0.22), style.wall, 0.72),
        ):
            details.append(Detail(grid + _UNIT * size + [0, shift], tone(colour, gain)))
    if style.shutter and not far:
        leaves = np.concatenate([grid + _UNIT * [w * 0.42, h + 0.06] + [sign * w * 0.74, 0] for sign in (-1, 1)])
        details.append(Detail(leaves, style.shutter))
    if style.balconies and not far:
        details += _balconies(style, rng, grid, w, h)
    details += _shop(style, rng, width, lamps=lamps, far=far) if style.shop else _porch(style, rng, width)
    return details


def _panes(
    style: Style, rng: np.random.Generator, grid: np.ndarray, w: float, h: float, *, lamps: bool, far: bool
) -> list[Detail]:
    details = []
    pane, glass = grid + _UNIT * [w, h], style.glass
    on = rng.random(len(pane)) < style.lit_share
    if on.any():
        curtain = grid + _UNIT * [w * (0.22 if lamps else 0.26), h] + [w * (-0.39 if lamps else 0.36), 0]
        if lamps:
            parts = Detail(pane[on], style.inside, glow=1.0), Detail(curtain[on], tone(style.inside, 0.72), glow=1.0)
        else:
            parts = Detail(pane[on], tone(glass, 1.25), gloss=0.2), Detail(curtain[on], (206, 202, 192))
        details += parts[:1] if far else parts
    if not on.all():
        details.append(Detail(pane[~on], glass, gloss=0.45))
        if not far:
            shine = grid + _UNIT * [w, h * 0.42] + [0, h * 0.29]
            details.append(Detail(shine[~on], tone(glass, 1.3), gloss=0.6))
    return details


def _balconies(style: Style, rng: np.random.Generator, grid: np.ndarray, w: float, h: float) -> list[Detail]:
    chosen = grid[rng.random(len(grid)) < 0.5]
    if not len(chosen):
        return []
    iron: Colour = (52, 54, 58)
    shifts = [[shift * (w + 0.6), -h / 2 + 0.2] for shift in np.linspace(-0.5, 0.5, 9).tolist()]
    return [
        Detail(chosen + _UNIT * [w + 0.7, 0.14] - [0, h / 2 + 0.28], tone(style.wall, 0.7)),
        Detail(np.concatenate([chosen + _UNIT * [0.05, 0.85] + shift for shift in shifts]), iron),
        Detail(chosen + _UNIT * [w + 0.7, 0.06] + [0, -h / 2 + 0.62], iron),
    ]


def _shop(style: Style, rng: np.random.Generator, width: float, *, lamps: bool, far: bool) -> list[Detail]:
    glow = 0.9 if lamps else 0.0
    half = (width - 0.2) / 2
    show = rects([(0.25, 0.5, half - 0.55, 2.6), (half + 0.75, 0.5, width - 0.25, 2.6)])
    details = [
        Detail(rect(0, 0, width, 3.42), tone(style.wall, 0.8)),
        Detail(rect(0, 0, width, 0.45), tone(style.wall, 0.6)),
        Detail(show, style.inside if lamps else tone(style.glass, 0.8), glow=glow, gloss=0.3),
    ]
    sizes = rng.random((7, 3))
    if not far:
        x = 0.35 + sizes[:, 0] * (width - 1.1)
        goods = zip(x.tolist(), sizes.tolist(), strict=True)
        boxes = rects((px, 0.52, px + 0.2 + 0.35 * b, 0.52 + 0.4 + 0.9 * c) for px, (_, b, c) in goods)
        red, green, blue = rng.integers(60, 190, 3).tolist()
        details.append(Detail(boxes, (float(red), float(green), float(blue))))
        if not lamps:
            details.append(Detail(show * [1, 0.22] + [0, 1.98], tone(style.glass, 1.4), gloss=0.5))
    door = rect(half - 0.26, 0.25, half + 0.46, 2.3)
    details += [
        Detail(rect(half - 0.4, 0, half + 0.6, 2.55), tone(style.sign, 0.5)),
        Detail(door, style.inside if lamps else style.glass, glow=glow, gloss=0.3),
        Detail(rect(0.1, 2.75, width - 0.1, 3.35), style.sign, glow=0.3 if lamps else 0.0),
    ]
    if not far:
        ink: Colour = (240, 238, 230) if sum(style.sign) < 400 else (40, 40, 44)
        start, long = width * 0.15, 0.9 + sizes[0, 0] * max(0.2, width * 0.5)
        places = enumerate(np.arange(start, start + long, 0.25).tolist())
        letters = rects((px, 2.9, px + 0.16, 3.2) for k, px in places if k % 5 != 4)
        details.append(Detail(letters, ink, glow=0.5))
        details.append(Detail(letters[::2] + [0.05, 0.0], tone(ink, 0.92), glow=0.5))
        if style.awning:
            edges = np.arange(0.1, width - 0.3, 0.36).tolist()
            details.append(Detail(rect(0.1, 2.3, width - 0.1, 2.85), (236, 232, 222)))
            details.append(Detail(rects((px, 2.26, px + 0.18, 2.85) for px in edges), style.sign))
            details.append(Detail(rect(0.1, 2.26, width - 0.1, 2.34), tone(style.sign, 0.7)))
    return details


def _porch(style: Style, rng: np.random.Generator, width: float) -> list[Detail]:
    details = [Detail(rect(0, 0, width, 0.7), tone(style.wall, 0.72))]
    chance, place, *paint = rng.random(5).tolist()
    if chance < 0.6:
        x = 0.3 + place * max(0.1, width - 1.7)
        colour = (70 + 60 * paint[0], 48 + 50 * paint[1], 40 + 50 * paint[2])
        details += [
            Detail(rect(x - 0.12, 0, x + 1.12, 2.45), style.trim),
            Detail(rect(x, 0, x + 1.0, 2.3), colour),
            Detail(rect(x + 0.15, 1.4, x + 0.85, 2.1), style.glass, gloss=0.3),
        ]
    return details


def gable(style: Style) -> list[Detail]:
    """The plain wall between a house and its neighbour."""
    rows = (style.base + 0.8 + np.arange(style.floors) * style.storey).tolist()
    shares = (0.2, 0.5, 0.8) if style.kind == "office" else (0.3, 0.7)
    places = [(style.depth * share, y) for share in shares for y in rows]
    return [
        Detail(rect(0, 0, style.depth, 0.7), tone(style.wall, 0.72)),
        Detail(rects((x - 0.62, y - 0.12, x + 0.62, y + 1.52) for x, y in places), style.trim),
        Detail(rects((x - 0.5, y, x + 0.5, y + 1.4) for x, y in places), style.glass, gloss=0.4),
        Detail(rects((x - 0.5, y + 0.8, x + 0.5, y + 1.4) for x, y in places), tone(style.glass, 1.3), gloss=0.6),
        Detail(rect(0, style.height - 0.4, style.depth, style.height - 0.12), tone(style.wall, 0.85)),
        Detail(rect(0, 0, 0.35, style.height), tone(style.wall, 1.08)),
    ]


class House:
    """A facade from `start` to `stop` on the ground, a body behind it."""

    def __init__(self, rng: np.random.Generator, start: Place, stop: Place, back: Place, *, district: str) -> None:
        """`start` and `stop` are (x, z) in metres, `back` is the unit vector (x, z) from the facade into the house."""
        self.start, self.stop, self.back, self.district = start, stop, back, district
        self.seed = int(rng.integers(2**31))

    @cached_property
    def style(self) -> Style:
        return Style(np.random.Generator(np.random.Philox(self.seed)), self.district)

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
            panels.append(upright((near_x, near_x + deep_x), (0.0, style.height), near_z, plain, middle, details))
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
            chimney = upright((x - 0.4, x + 0.4), (ridge - 0.7, ridge + 0.9), z, (132, 84, 68), (x, ridge, z + 1))
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
