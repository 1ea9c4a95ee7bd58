"""Facades: what stands on a few metres of a house's front, as details in metres from its lower left corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.streets.looks import tone, vary
from effdet.streets.marks import Colour
from effdet.streets.panels import Detail, rect

_PLASTER: tuple[Colour, ...] = (
    (222, 208, 178),
    (204, 174, 132),
    (190, 190, 186),
    (212, 166, 142),
    (230, 222, 208),
    (174, 154, 126),
    (196, 202, 190),
    (220, 194, 126),
    (206, 120, 92),
    (152, 176, 186),
)
_BRICK: tuple[Colour, ...] = ((154, 86, 64), (132, 78, 62), (172, 108, 80), (120, 90, 78))
_OFFICE: tuple[Colour, ...] = ((158, 164, 170), (126, 134, 142), (192, 192, 188), (104, 114, 124), (142, 120, 104))
_SHOP: tuple[Colour, ...] = (
    (176, 36, 40),
    (30, 74, 130),
    (36, 108, 78),
    (232, 184, 56),
    (60, 44, 70),
    (224, 222, 214),
    (210, 104, 44),
    (26, 26, 30),
)
_ROOF: tuple[Colour, ...] = ((148, 76, 54), (92, 80, 76), (80, 84, 92), (124, 66, 52))
_SHUTTER: tuple[Colour, ...] = ((62, 96, 74), (120, 60, 48), (70, 84, 110))
_WARM: tuple[Colour, ...] = ((255, 210, 124), (255, 230, 174), (240, 190, 104), (216, 228, 242))
_UNIT = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
_STYLES = {"city": (0.45, 0.2, 0.35), "town": (0.62, 0.3, 0.08), "suburb": (0.7, 0.3, 0.0)}


@dataclass(frozen=True)
class Style:
    """How a house is built. Lengths in metres."""

    kind: str
    """plaster, brick or office."""
    wall: Colour
    trim: Colour
    glass: Colour
    sign: Colour
    inside: Colour
    shutter: Colour | None
    roof: Colour | None
    floors: int
    storey: float
    shop: bool
    awning: bool
    balconies: bool
    pitch: float
    wide: float
    tall: float
    lit_share: float
    depth: float

    @property
    def base(self) -> float:
        """Height of the ground floor."""
        return 3.6 if self.shop else 0.9

    @property
    def height(self) -> float:
        return self.base + self.storey * self.floors


def make_style(rng: np.random.Generator, district: str) -> Style:
    kind = ("plaster", "brick", "office")[int(rng.choice(3, p=_STYLES[district]))]
    table = {"plaster": _PLASTER, "brick": _BRICK, "office": _OFFICE}[kind]
    wall = vary(rng, table[int(rng.integers(len(table)))], 12)
    office = kind == "office"
    chance = rng.random(6)
    return Style(
        kind=kind,
        wall=wall,
        trim=tone(wall, 1.18) if chance[0] < 0.6 else (234, 231, 224),
        glass=vary(rng, (60, 72, 84), 12),
        sign=vary(rng, _SHOP[int(rng.integers(len(_SHOP)))], 10),
        inside=_WARM[int(rng.integers(len(_WARM)))],
        shutter=vary(rng, _SHUTTER[int(rng.integers(3))], 10) if kind == "plaster" and chance[1] < 0.35 else None,
        roof=vary(rng, _ROOF[int(rng.integers(len(_ROOF)))], 8)
        if not office and chance[2] < {"city": 0.4, "town": 0.75, "suburb": 1.0}[district]
        else None,
        floors=int({"city": rng.integers(4, 9), "town": rng.integers(2, 5), "suburb": rng.integers(1, 3)}[district]),
        storey=float(rng.uniform(2.9, 3.4)),
        shop=bool(chance[3] < {"city": 0.75, "town": 0.55, "suburb": 0.04}[district]),
        awning=bool(chance[4] < 0.45),
        balconies=bool(not office and chance[5] < 0.3),
        pitch=float(rng.uniform(1.8, 2.9)),
        wide=float(rng.uniform(0.72, 0.92) if office else rng.uniform(0.42, 0.6)),
        tall=float(rng.uniform(0.55, 0.8) if office else rng.uniform(0.48, 0.62)),
        lit_share=float(rng.uniform(0.12, 0.5)),
        depth=float(rng.uniform(8, 14)),
    )


def bay(style: Style, rng: np.random.Generator, width: float, *, lamps: bool, far: bool) -> list[Detail]:
    """The details of `width` metres. `lamps`: some windows are lit; `far`: leave out what nobody would see."""
    details: list[Detail] = []
    columns = max(1, round(width / style.pitch))
    pitch = width / columns
    w, h = pitch * style.wide, style.storey * style.tall
    y = style.base + (np.arange(style.floors) + 0.5) * style.storey
    grid = np.stack(np.meshgrid((np.arange(columns) + 0.5) * pitch, y), -1).reshape(-1, 1, 2)
    office = style.kind == "office"
    if office:
        details.append(
            Detail(
                np.array([rect(0, value - h * 0.62, width, value + h * 0.62) for value in y.tolist()]),
                tone(style.wall, 0.8),
            )
        )
    else:
        if not far and style.kind == "brick":
            courses = np.array(
                [rect(0, level, width, level + 0.05) for level in np.arange(style.base + 0.4, style.height, 0.8)]
            )
            details.append(Detail(courses, tone(style.wall, 0.93)))
        lines = [style.base] + (
            [style.base + k * style.storey for k in range(1, style.floors)]
            if style.balconies or style.kind == "plaster"
            else []
        )
        details.append(
            Detail(np.array([rect(0, line - 0.12, width, line + 0.06) for line in lines]), tone(style.trim, 0.95))
        )
    details.append(Detail(rect(0, style.height - 0.45, width, style.height - 0.1), tone(style.wall, 0.82)))
    details.append(Detail(rect(0, style.height - 0.18, width, style.height), tone(style.trim, 1.05)))
    if not far:
        details.append(Detail(grid + _UNIT * [w + 0.16, h + 0.18], tone(style.wall, 0.65) if office else style.trim))
    details += _panes(style, rng, grid, w, h, lamps=lamps, far=far)
    if not far and not office:
        details.append(Detail(grid + _UNIT * [w * 0.09, h], tone(style.trim, 0.9)))
        details.append(Detail(grid + _UNIT * [w, h * 0.06] + [0, h * 0.18], tone(style.trim, 0.9)))
        details.append(Detail(grid + _UNIT * [w + 0.34, 0.14] - [0, h / 2 + 0.1], tone(style.trim, 1.05)))
        details.append(Detail(grid + _UNIT * [w + 0.3, 0.1] - [0, h / 2 + 0.22], tone(style.wall, 0.72)))
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
    pane = grid + _UNIT * [w, h]
    on = rng.random(len(pane)) < style.lit_share
    if on.any():
        if lamps:
            details.append(Detail(pane[on], style.inside, glow=1.0))
            if not far:  # curtains
                details.append(
                    Detail((grid + _UNIT * [w * 0.22, h] - [w * 0.39, 0])[on], tone(style.inside, 0.72), glow=1.0)
                )
        else:
            details.append(Detail(pane[on], tone(style.glass, 1.25), gloss=0.2))
            if not far:
                details.append(Detail((grid + _UNIT * [w * 0.26, h] + [w * 0.36, 0])[on], (206, 202, 192)))
    if not on.all():
        details.append(Detail(pane[~on], style.glass, gloss=0.45))
        if not far:
            details.append(
                Detail((grid + _UNIT * [w, h * 0.42] + [0, h * 0.29])[~on], tone(style.glass, 1.3), gloss=0.6)
            )
    return details


def _balconies(style: Style, rng: np.random.Generator, grid: np.ndarray, w: float, h: float) -> list[Detail]:
    chosen = grid[rng.random(len(grid)) < 0.5]
    if not len(chosen):
        return []
    iron: Colour = (52, 54, 58)
    rails = np.concatenate(
        [
            chosen + _UNIT * [0.05, 0.85] + [shift * (w + 0.6), -h / 2 + 0.2]
            for shift in np.linspace(-0.5, 0.5, 9).tolist()
        ]
    )
    return [
        Detail(chosen + _UNIT * [w + 0.7, 0.14] - [0, h / 2 + 0.28], tone(style.wall, 0.7)),
        Detail(rails, iron),
        Detail(chosen + _UNIT * [w + 0.7, 0.06] + [0, -h / 2 + 0.62], iron),
    ]


def _shop(style: Style, rng: np.random.Generator, width: float, *, lamps: bool, far: bool) -> list[Detail]:
    glow = 0.9 if lamps else 0.0
    half = (width - 0.2) / 2
    show = np.array([rect(0.25, 0.5, half - 0.55, 2.6), rect(half + 0.75, 0.5, width - 0.25, 2.6)])
    details = [
        Detail(rect(0, 0, width, 3.42), tone(style.wall, 0.8)),
        Detail(rect(0, 0, width, 0.45), tone(style.wall, 0.6)),
        Detail(show, style.inside if lamps else tone(style.glass, 0.8), glow=glow, gloss=0.3),
    ]
    sizes = rng.random((7, 3))
    if not far:
        x = 0.35 + sizes[:, 0] * (width - 1.1)
        goods = np.array(
            [
                rect(px, 0.52, px + 0.2 + 0.35 * b, 0.52 + 0.4 + 0.9 * c)
                for px, (_, b, c) in zip(x.tolist(), sizes.tolist(), strict=True)
            ]
        )
        shades = rng.integers(60, 190, 3).tolist()
        details.append(Detail(goods, (float(shades[0]), float(shades[1]), float(shades[2]))))
        if not lamps:
            details.append(Detail(show * [1, 0.22] + [0, 1.98], tone(style.glass, 1.4), gloss=0.5))
    door = rect(half - 0.4, 0, half + 0.6, 2.55)
    details += [
        Detail(door, tone(style.sign, 0.5)),
        Detail(rect(half - 0.26, 0.25, half + 0.46, 2.3), style.inside if lamps else style.glass, glow=glow, gloss=0.3),
    ]
    details.append(Detail(rect(0.1, 2.75, width - 0.1, 3.35), style.sign, glow=0.3 if lamps else 0.0))
    if not far:
        ink: Colour = (240, 238, 230) if sum(style.sign) < 400 else (40, 40, 44)
        start, long = width * 0.15, 0.9 + sizes[0, 0] * max(0.2, width * 0.5)
        letters = np.array(
            [
                rect(px, 2.9, px + 0.16, 3.2)
                for k, px in enumerate(np.arange(start, start + long, 0.25).tolist())
                if k % 5 != 4
            ]
        )
        details.append(Detail(letters, ink, glow=0.5))
        details.append(Detail(letters[::2] + [0.05, -0.0] - [0, 0], tone(ink, 0.92), glow=0.5))
        if style.awning:
            edges = np.arange(0.1, width - 0.3, 0.36).tolist()
            details.append(Detail(rect(0.1, 2.3, width - 0.1, 2.85), (236, 232, 222)))
            details.append(Detail(np.array([rect(px, 2.26, px + 0.18, 2.85) for px in edges]), style.sign))
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
    details = [Detail(rect(0, 0, style.depth, 0.7), tone(style.wall, 0.72))]
    rows = (style.base + 0.8 + np.arange(style.floors) * style.storey).tolist()
    columns = (
        [style.depth * share for share in (0.2, 0.5, 0.8)]
        if style.kind == "office"
        else [style.depth * share for share in (0.3, 0.7)]
    )
    frames = np.array([rect(x - 0.62, y - 0.12, x + 0.62, y + 1.52) for x in columns for y in rows])
    panes = np.array([rect(x - 0.5, y, x + 0.5, y + 1.4) for x in columns for y in rows])
    tops = np.array([rect(x - 0.5, y + 0.8, x + 0.5, y + 1.4) for x in columns for y in rows])
    details += [
        Detail(frames, style.trim),
        Detail(panes, style.glass, gloss=0.4),
        Detail(tops, tone(style.glass, 1.3), gloss=0.6),
    ]
    details.append(Detail(rect(0, style.height - 0.4, style.depth, style.height - 0.12), tone(style.wall, 0.85)))
    details.append(Detail(rect(0, 0, 0.35, style.height), tone(style.wall, 1.08)))
    return details
