"""Buses, trams and lorries: boxes with windows, doors, stripes and wheels. Own frame as in `vehicles`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from effdet.streets.canvas import Colour, palette
from effdet.streets.looks import Look, car_paint, pick, tone, vary
from effdet.streets.panels import Detail, Panel, Solid, Span, pair, quad, rect, rects, side, upright
from effdet.streets.vehicles import AMBER, GLASS, PLATE, RED, TRIM, TYRE, Vehicle, lamps, under, wheel

_LIVERY = palette("d6b026 bc2224 225c9e 26805c e2e2de d66c24 703478 5aaabe")
_CARGO = palette("e2e2dc cebe3c 3c6296 b43c32 5a8c64 f0f0f0")


def box(
    half: float,
    y: Span,
    z: Span,
    colour: Colour,
    flank: list[Detail],
    tail: list[Detail],
    face: list[Detail],
    *,
    roof: Colour | None = None,
) -> list[Panel]:
    """Five sides of a box. Flank details lie in (z, y); tail and face details from the lower left corner, x to the right."""
    (low, high), (rear, front), x = y, z, (-half, half)
    inside = (0.0, (low + high) / 2, (rear + front) / 2)
    outline = rect(rear, low, front, high)
    top = [(-half, high, rear), (half, high, rear), (half, high, front), (-half, high, front)]
    return [
        side(-half, outline, colour, flank),
        side(half, outline, colour, flank),
        upright(x, y, rear, colour, inside, tail, gloss=0.12),
        upright(x, y, front, colour, inside, face, gloss=0.12),
        quad(top, roof or tone(colour, 0.9), inside),
    ]


def _windows(z: Span, y: Span, pitch: float, gap: float, glass: Colour) -> list[Detail]:
    """A row of windows, and a slanted reflection within each pane."""
    (start, stop), (low, high) = z, y
    count = max(1, round((stop - start) / pitch))
    step = (stop - start) / count
    panes = rects((start + i * step + gap / 2, low, start + (i + 1) * step - gap / 2, high) for i in range(count))
    a, b, c, d = panes.transpose(1, 0, 2)
    shine = np.stack([a * 0.6 + b * 0.4, a * 0.3 + b * 0.7, d * 0.1 + c * 0.9, d * 0.4 + c * 0.6], 1)
    return [Detail(panes, glass, gloss=0.3), Detail(shine, tone(glass, 1.5), gloss=0.4)]


def _door(
    z: float, top: float, frame: tuple[float, float], panes: tuple[float, float], dark: Colour, glass: Colour
) -> list[Detail]:
    """A double door about `z`, up to `top`; half the width and the lower edge of its frame, and of its panes."""
    (wide, low), (inner, sill) = frame, panes
    leaves = rects([(z - inner, sill, z - 0.04, top - 0.1), (z + 0.04, sill, z + inner, top - 0.1)])
    return [Detail(rect(z - wide, low, z + wide, top), dark), Detail(leaves, glass, gloss=0.3)]


def _shine(points: list[list[float]], glass: Colour, gloss: float = 0.5) -> Detail:
    """A reflection on a windscreen or a rear window."""
    return Detail(np.array(points), tone(glass, 1.5), gloss=gloss)


@lru_cache(maxsize=256)
def bus(look: Look) -> Vehicle:
    rng = look.rng("bus")
    paint = pick(rng, _LIVERY, 10)
    second = pick(rng, _LIVERY, 10) if rng.random() < 0.6 else tone(paint, 0.7)
    length, width, height = rng.uniform(9.0, 12.5), 2.5, rng.uniform(2.95, 3.25)
    double = rng.random() < 0.14
    if double:
        height = 4.2
    half, end, low, radius = width / 2, length / 2, 0.32, 0.48
    glass = vary(rng, GLASS, 8)
    sill, top = 1.25, 2.45
    flank = [
        Detail(rect(-end, low, end, 0.95), second),
        Detail(rect(-end, low, end, low + 0.12), TRIM),
        Detail(rect(-end + 0.2, sill - 0.06, end - 0.15, top + 0.06), (30, 32, 36)),
        *_windows((-end + 0.4, end - 0.3), (sill, top), 1.5, 0.1, glass),
        Detail(rect(-end, top + 0.16, end, top + 0.24), tone(paint, 1.2)),
    ]
    if double:
        flank.append(Detail(rect(-end + 0.15, 2.84, end - 0.1, 3.81), (30, 32, 36)))
        flank += _windows((-end + 0.3, end - 0.3), (2.9, 3.75), 1.5, 0.1, glass)
    if rng.random() < 0.5:  # an advertisement between the axles
        flank.append(Detail(rect(-end * 0.45, low + 0.15, end * 0.35, 1.12), vary(rng, (236, 228, 214), 20)))
        flank.append(Detail(rect(-end * 0.38, low + 0.35, end * 0.1, 0.9), vary(rng, (200, 70, 60), 40)))
    for z in (end - 1.0, -0.4):
        flank += _door(z, top, (0.6, low + 0.05), (0.55, low + 0.15), (26, 28, 32), tone(glass, 1.15))
    rim = (150, 152, 156)
    flank += [*wheel(-end + 2.2, radius, rim), *wheel(end - 2.4, radius, rim)]
    tail = [
        Detail(rect(0, 0, width, 0.6), second),
        Detail(rect(0.12, 0.75, width - 0.12, 1.0), tone(paint, 0.75)),
        Detail(rect(0.2, 1.15, width - 0.2, 2.1), glass, gloss=0.3),
        _shine([[1.3, 1.2], [1.8, 1.2], [2.1, 2.05], [1.5, 2.05]], glass, 0.4),
        Detail(rect(0.6, height - low - 0.42, width - 0.6, height - low - 0.14), (20, 20, 22)),
        Detail(rect(0.8, height - low - 0.35, 1.25, height - low - 0.2), AMBER, glow=1.0),
        Detail(pair(width, 0.08, 0.45, 0.28, 0.95), RED, glow=0.8),
        Detail(rect(width / 2 - 0.26, 0.2, width / 2 + 0.26, 0.34), PLATE),
    ]
    face = [
        Detail(rect(0, 0, width, 0.5), second),
        Detail(rect(0.08, 0.72, width - 0.08, 2.15), glass, gloss=0.35),
        _shine([[0.5, 0.8], [1.0, 0.8], [1.5, 2.1], [0.8, 2.1]], glass),
        Detail(rect(width / 2 - 0.02, 0.75, width / 2 + 0.02, 2.15), (28, 30, 34)),
        Detail(rect(0.3, 2.2, width - 0.3, 2.52), (18, 18, 20)),
        Detail(rect(0.5, 2.27, 0.85, 2.45), AMBER, glow=1.0),
        Detail(rect(1.0, 2.3, width - 0.6, 2.43), AMBER, glow=1.0),
        Detail(pair(width, 0.1, 0.22, 0.5, 0.42), (236, 240, 240), glow=1.0),
        Detail(rect(width / 2 - 0.26, 0.1, width / 2 + 0.26, 0.22), PLATE),
        Detail(rect(0.1, 0.53, width - 0.1, 0.57), tone(second, 0.7)),
    ]
    if double:
        for details in (tail, face):
            details.append(Detail(rect(0.15, 2.6, width - 0.15, 3.5), glass, gloss=0.35))
    panels = [under(half, z, radius, 0.3, low) for z in (-end + 0.7, end - 0.7)]
    panels += box(half, (low, height), (-end, end), paint, flank, tail, face, roof=(206, 208, 210))
    shining = lamps(half, end, (0.18, 0.95, 0.11), (0.3, 0.64, 0.15))
    return Vehicle((Solid(tuple(panels), shining),), length, width, height)


@lru_cache(maxsize=256)
def tram(look: Look) -> Vehicle:
    rng = look.rng("tram")
    paint = pick(rng, _LIVERY, 10)
    second = vary(rng, (232, 230, 222), 6)
    length, width, height = rng.uniform(14.0, 20.0), 2.4, rng.uniform(3.35, 3.6)
    half, end, low = width / 2, length / 2, 0.22
    glass = vary(rng, GLASS, 8)
    sill, top = 1.15, 2.55
    sections = [-end + length * k / 3 for k in (1, 2)]
    flank = [
        Detail(rect(-end, 1.02, end, 2.75), second),
        Detail(rect(-end, low, end, low + 0.2), TRIM),
        *_windows((-end + 0.5, end - 0.5), (sill, top), 1.9, 0.12, glass),
        *(Detail(rect(z - 0.16, low, z + 0.16, height), (52, 54, 58)) for z in sections),
    ]
    for z in (-end * 0.62, 0.0, end * 0.62):
        flank += _door(z, top, (0.7, low + 0.1), (0.64, low + 0.25), (30, 32, 36), tone(glass, 1.2))
    flank += [Detail(rect(z - 0.9, 0.02, z + 0.9, low + 0.16), TYRE, mask=True) for z in (-end * 0.7, end * 0.7)]
    ends = [
        Detail(np.array([[0.12, 0.85], [width - 0.12, 0.85], [width - 0.28, 2.5], [0.28, 2.5]]), glass, gloss=0.4),
        _shine([[1.3, 0.95], [1.8, 0.95], [1.6, 2.4], [1.35, 2.4]], glass),
        Detail(rect(0.5, 2.6, width - 0.5, 2.92), (18, 18, 20)),
        Detail(rect(0.62, 2.67, 0.9, 2.85), AMBER, glow=1.0),
        Detail(rect(1.02, 2.7, width - 0.66, 2.83), AMBER, glow=1.0),
        Detail(rect(0, 0, width, 0.16), TRIM),
        Detail(rect(0, 0.55, width, 0.72), second),
    ]
    spots = pair(width, 0.22, 0.28, 0.5, 0.46)
    tail = [*ends, Detail(spots, RED, glow=0.8)]
    face = [*ends, Detail(spots, (240, 240, 232), glow=1.0)]
    panels = box(half, (low, height - 0.25), (-end, end), paint, flank, tail, face, roof=(150, 152, 156))
    rear, front, wide = -end * 0.5, end * 0.4, half * 0.7  # the rack on the roof
    panels += [side(x, rect(rear, height - 0.25, front, height), (120, 122, 126)) for x in (-wide, wide)]
    inside = (0.0, height - 0.1, 0.0)
    panels += [upright((-wide, wide), (height - 0.25, height), z, (112, 114, 118), inside) for z in (rear, front)]
    shining = lamps(half, end, (0.36, 0.6, 0.1), (0.36, 0.6, 0.14))
    return Vehicle((Solid(tuple(panels), shining),), length, width, height)


@lru_cache(maxsize=256)
def truck(look: Look) -> Vehicle:
    rng = look.rng("truck")
    paint = car_paint(rng)
    kind = ("box", "flat", "tipper")[int(rng.choice(3, p=[0.68, 0.2, 0.12]))]
    cargo = pick(rng, _CARGO, 10)
    length, width = rng.uniform(6.2, 9.2), 2.4
    cab, cab_high = 1.9, rng.uniform(2.45, 2.85)
    height = rng.uniform(3.1, 3.7) if kind == "box" else 1.75
    half, end, low, radius = width / 2, length / 2, 0.55, 0.46
    glass = vary(rng, GLASS, 8)
    rim = (150, 150, 152)
    bed = end - cab - 0.15
    stripe = pick(rng, _LIVERY, 10)
    chassis = [
        Detail(rect(-end, low + 0.12, bed, low + 0.18), (70, 72, 76)),
        *wheel(-end + 1.3, radius, rim, arch=None),
    ]
    if length > 7.6:
        chassis += wheel(-end + 2.4, radius, rim, arch=None)
    panels = [under(half, -end + 0.7, radius, 0.42, low), under(half, end - 0.5, radius, 0.3, low)]
    frame = rect(-end, low - 0.1, end - 0.4, low + 0.3)
    panels += [side(s * (half - 0.04), frame, (40, 42, 46), chassis) for s in (-1, 1)]
    starts = [(-end + 0.1 + k * 0.62, -end + 0.14 + k * 0.62) for k in range(int((bed + end) / 0.62))]
    ribs = rects((start, low + 0.35, stop, height - 0.06) for start, stop in starts)
    flank = [Detail(ribs, tone(cargo, 0.86)), Detail(rect(-end, height - 0.1, bed, height), tone(cargo, 0.75))]
    if kind == "box":
        flank += [
            Detail(rect(-end + 0.6, 1.5, bed - 0.5, 2.3), stripe),
            Detail(rect(-end + 1.0, 1.75, bed - 1.4, 2.05), tone(cargo, 1.05)),
        ]
    door_high = height - low - 0.3
    doors = [(0.1, 0.1, half - 0.03, door_high - 0.1), (half + 0.03, 0.1, width - 0.1, door_high - 0.1)]
    bars = [(x - 0.02, 0.1, x + 0.02, door_high - 0.1) for x in (half - 0.2, half + 0.2)]
    tail = [
        Detail(rects(doors), tone(cargo, 0.92)),
        Detail(rects(bars), (110, 112, 116)),
        Detail(pair(width, 0.02, -0.2, 0.42, -0.02), RED, glow=0.8, mask=True),
        Detail(rect(0.42, -0.22, width - 0.42, -0.06), (56, 58, 62), mask=True),
        Detail(rect(half - 0.25, -0.2, half + 0.25, -0.09), PLATE),
    ]
    panels += box(half, (low + 0.3, height), (-end, bed), cargo, flank, tail, [])
    shining = lamps(half, end, (0.2, low + 0.2, 0.1), (0.27, 0.72, 0.15))
    solids = (
        Solid(tuple(panels), shining, (0.0, 1.5, (bed - end) / 2)),
        Solid(tuple(_cab(half, end - cab, end, cab_high, paint, glass, rim, radius)), (), (0.0, 1.5, end - cab / 2)),
    )
    return Vehicle(solids, length, width, max(height, cab_high))


def _cab(
    half: float, rear: float, end: float, high: float, paint: Colour, glass: Colour, rim: Colour, radius: float
) -> list[Panel]:
    """A lorry's cab from z = `rear` to `end`."""
    width = 2 * half
    window = [[rear + 0.35, 1.62], [end - 0.12, 1.62], [end - 0.3, high - 0.25], [rear + 0.35, high - 0.25]]
    flank = [
        Detail(np.array(window), glass, gloss=0.4),
        Detail(rect(rear + 0.3, 0.8, rear + 0.33, high - 0.2), tone(paint, 0.6)),
        Detail(rect(rear + 0.4, 1.42, rear + 0.6, 1.47), TRIM),
        Detail(rect(rear, 0.5, end, 0.62), TRIM),
        *wheel(end - 0.95, radius, rim),
    ]
    face = [
        Detail(rect(0, 0, width, 0.3), TRIM),
        Detail(rect(0.12, 1.1, width - 0.12, high - 0.5 - 0.3), glass, gloss=0.4),
        _shine([[1.2, 1.15], [1.7, 1.15], [1.5, high - 0.85], [1.1, high - 0.85]], glass),
        Detail(rect(0.5, 0.5, width - 0.5, 0.95), tone(paint, 0.55)),
        Detail(rects((0.55, 0.6 + k * 0.1, width - 0.55, 0.63 + k * 0.1) for k in range(3)), (150, 152, 156)),
        Detail(pair(width, 0.1, 0.12, 0.45, 0.32), (236, 240, 240), glow=1.0),
        Detail(rect(half - 0.26, 0.06, half + 0.26, 0.18), PLATE),
    ]
    tail = [Detail(rect(0.5, 1.2, width - 0.5, 1.9), glass)]
    return box(half - 0.03, (0.5, high), (rear, end), paint, flank, tail, face)
