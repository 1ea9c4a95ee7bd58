"""Cars: a body under a tapered greenhouse, in six shapes. Own frame as in `vehicles`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from effdet.streets.canvas import Colour, circle
from effdet.streets.looks import Look, car_paint, tone, vary
from effdet.streets.panels import Detail, Panel, Points, Solid, Span, pair, quad, rect, side, upright
from effdet.streets.vehicles import GLASS, PLATE, RED, TRIM, Vehicle, lamps, under, wheel

_INSIDE = (0.0, 0.6, 0.0)


@dataclass(frozen=True)
class _Kind:
    """Measures of a body shape in metres."""

    share: float
    """How common it is."""
    length: float
    width: float
    height: float
    belt: float
    """Height of the windows' lower edge."""
    nose: float
    """Height of the bonnet's front edge."""
    deck_y: float
    """Height of the rear edge."""
    deck: float
    """Length of the boot lid."""
    bonnet: float
    """Length of the bonnet."""
    rake: float
    """How far the windscreen leans back."""
    rear_rake: float
    """How far the rear window leans forward."""
    saloon: bool = False
    """Wide, low tail lamps."""
    clearance: float = 0.22
    wheel: float = 0.32
    split: float = 0.56
    """Where along the cabin the pillar between the doors stands."""


_KINDS = {
    "sedan": _Kind(0.25, 4.6, 1.82, 1.45, 0.94, 0.72, 0.98, 0.62, 1.25, 0.62, 0.62, saloon=True, split=0.5),
    "hatch": _Kind(0.27, 4.0, 1.76, 1.50, 0.96, 0.74, 0.96, 0.05, 1.00, 0.58, 0.40, split=0.5),
    "suv": _Kind(0.20, 4.5, 1.88, 1.72, 1.10, 0.92, 1.10, 0.05, 1.10, 0.50, 0.28, clearance=0.30, wheel=0.36),
    "wagon": _Kind(0.12, 4.7, 1.82, 1.48, 0.94, 0.72, 0.96, 0.05, 1.20, 0.60, 0.30),
    "van": _Kind(0.12, 4.9, 1.94, 1.98, 1.12, 0.98, 1.10, 0.02, 0.85, 0.60, 0.12),
    "sport": _Kind(0.04, 4.3, 1.86, 1.28, 0.86, 0.62, 0.90, 0.55, 1.35, 0.75, 0.85, saloon=True, split=0.5),
}


class _Car:
    """The car of an identity: its kind, grown a little, and its colours. Lengths in metres."""

    def __init__(self, look: Look) -> None:
        rng = look.rng("car")
        paint = car_paint(rng)
        self.taxi = bool(rng.random() < 0.05)
        self.paint: Colour = (232.0, 190.0, 40.0) if self.taxi else paint
        self.name = tuple(_KINDS)[int(rng.choice(len(_KINDS), p=[kind.share for kind in _KINDS.values()]))]
        self.kind = kind = _KINDS[self.name]
        self.grow = float(rng.uniform(0.95, 1.05))
        self.length, self.height = kind.length * self.grow, kind.height * float(rng.uniform(0.97, 1.04))
        self.rim, self.glass = vary(rng, (158, 160, 164), 14), vary(rng, GLASS, 8)
        dark = tone(self.paint, 0.55)
        self.sill, self.bumper = (dark if rng.random() < share else TRIM for share in (0.6, 0.5))
        self.grille = vary(rng, (30, 31, 34), 6)
        self.panes = ((0.05, kind.split - 0.02), (kind.split + 0.02, 0.95))
        """Side windows: where each begins and ends along the cabin, 0…1 from the rear."""
        if self.name == "wagon":
            self.panes = ((0.04, 0.26), (0.30, 0.60), (0.64, 0.95))
        if self.name == "van" and rng.random() < 0.6:
            self.panes = self.panes[1:]
        self.heads = 1 + int(rng.random() < 0.4)
        """How many people sit in front."""
        self.half, self.end = kind.width / 2, self.length / 2
        self.base, self.roof = self.half * 0.97, self.half * 0.76
        """Half the cabin's width at the belt and at the roof."""
        rear, front = -self.end + kind.deck, self.end - kind.bonnet
        self.stations = rear, rear + kind.rear_rake, front - kind.rake, front
        """z of the cabin's corners: rear at the belt, rear at the roof, front at the roof, front at the belt."""
        self.tail_y, self.nose_y = kind.deck_y - 0.05, kind.nose - 0.15


@lru_cache(maxsize=1024)
def car(look: Look) -> Vehicle:
    made = _Car(look)
    half, end, low = made.half, made.end, made.kind.clearance
    panels = [under(half, z, made.kind.wheel, 0.22, low) for z in (-end + 0.36, end - 0.36)]
    panels += _flanks(made)
    panels.append(_tail(made))
    panels.append(_front(made))
    panels += _lids(made)
    panels += _cabin(made)
    panels += _mirrors(made)
    if made.taxi:
        text = [Detail(rect(0.05, 0.05, 0.45, 0.11), TRIM)]
        panels += _from_both_sides((-0.25, 0.25), made.height, -0.1, (246, 236, 170), text)
    tail, head = (0.2, made.tail_y - 0.14, 0.09), (0.23, made.nose_y - 0.07, 0.13)
    solid = Solid(tuple(panels), lamps(half, end, tail, head, red=(255, 44, 30)))
    return Vehicle((solid,), made.length, made.kind.width, made.height)


def _flanks(made: _Car) -> list[Panel]:
    """Both sides below the windows, with doors and wheels. Details lie in (z, y)."""
    kind, paint, end, belt, nose = made.kind, made.paint, made.end, made.kind.belt, made.kind.nose
    low = kind.clearance
    rear, _, _, front = made.stations
    body = np.array([
        [-end, low], [-end, made.tail_y], [-end + 0.1, kind.deck_y], [rear, belt], [front, belt], [end - 0.15, nose],
        [end, made.nose_y], [end, low + 0.02],
    ])  # fmt: skip
    z_rear, z_front = -end + 0.18 * made.length, end - 0.185 * made.length
    door = rect(z_rear + 0.42, low + 0.1, z_rear + 0.425, belt)
    shifts = (0.95, 1.75) if made.name == "van" else (0.62 * made.grow, 1.55 * made.grow)
    doors = [door + [shift, 0] for shift in shifts]
    line = rect(-end + 0.12, belt - 0.13, end - 0.45, belt - 0.10)
    line[2:, 1] -= 0.02
    fold = [
        [-end + 0.03, belt * 0.62],
        [end - 0.06, belt * 0.56],
        [end - 0.06, belt * 0.42],
        [-end + 0.03, belt * 0.42],
    ]
    lamp = [[end - 0.3, nose - 0.16], [end, nose - 0.26], [end, nose - 0.14], [end - 0.28, nose - 0.05]]
    details = [
        Detail(rect(-end + 0.02, low, end - 0.02, low + 0.12), made.sill),
        Detail(np.array(fold), tone(paint, 0.86)),
        Detail(line, tone(paint, 1.22)),
        *(Detail(shape, tone(paint, 0.5)) for shape in doors),
        *(Detail(rect(s[0, 0] + 0.08, belt - 0.22, s[0, 0] + 0.26, belt - 0.18), tone(paint, 0.6)) for s in doors),
        Detail(rect(-end, kind.deck_y - 0.32, -end + 0.16, kind.deck_y - 0.1), RED, glow=0.5),
        Detail(np.array(lamp), (222, 226, 228), glow=0.6),
        *wheel(z_rear, kind.wheel, made.rim),
        *wheel(z_front, kind.wheel, made.rim),
    ]
    return [side(-made.half, body, paint, details), side(made.half, body, paint, details)]


def _tail(made: _Car) -> Panel:
    """The rear below the window. Details lie in metres from its lower left corner."""
    kind, paint, half, end, low = made.kind, made.paint, made.half, made.end, made.kind.clearance
    width, top = kind.width, made.tail_y - low - 0.04
    lamp, high = (0.34, 0.17) if kind.saloon else (0.20, 0.34)

    details = [
        Detail(rect(0, 0, width, 0.2), made.bumper),
        Detail(rect(0.1, 0.0, width - 0.1, 0.06), TRIM),
        Detail(pair(width, 0, 0.2, 0.09, top), tone(paint, 0.82)),  # the body turns away at its corners
        Detail(rect(0.09, 0.2, width - 0.09, 0.2 + 0.34 * (top - 0.2)), tone(paint, 0.88)),
        Detail(rect(0.09, top - 0.07, width - 0.09, top - 0.02), tone(paint, 1.2)),
        Detail(rect(half - 0.52, 0.24, half + 0.52, 0.40), tone(paint, 0.7)),
        Detail(pair(width, 0.22, 0.02, 0.42, 0.09), (88, 90, 92)),
        Detail(rect(half - 0.26, 0.26, half + 0.26, 0.38), PLATE),
        Detail(rect(half - 0.21, 0.30, half + 0.21, 0.34), (92, 92, 96)),
        Detail(rect(half - 0.08, top - 0.15, half + 0.08, top - 0.09), (190, 192, 196)),
        Detail(pair(width, 0.03, top - high, lamp + 0.06, top), RED, glow=0.75),
        Detail(pair(width, 0.06, top - high * 0.45, lamp, top - high * 0.3), (240, 190, 170)),
    ]
    return _across(half, half, (low, -end), (made.tail_y, -end), paint, details)


def _front(made: _Car) -> Panel:
    """Bumper, grille and headlights."""
    paint, half, end, width = made.paint, made.half, made.end, made.kind.width
    low = made.kind.clearance
    top = made.nose_y - low
    mouth = [[0.25, 0.04], [width - 0.25, 0.04], [width - 0.36, 0.19], [0.36, 0.19]]
    grille = [[half - 0.48, top - 0.2], [half + 0.48, top - 0.2], [half + 0.56, top - 0.03], [half - 0.56, top - 0.03]]
    left = np.array([[0.04, top - 0.14], [0.40, top - 0.16], [0.42, top - 0.04], [0.04, top]])
    right = np.array(
        [[width - 0.40, top - 0.16], [width - 0.04, top - 0.14], [width - 0.04, top], [width - 0.42, top - 0.04]]
    )
    details = [
        Detail(rect(0, 0, width, 0.1), tone(paint, 0.55)),
        Detail(np.array(mouth), TRIM),
        Detail(np.array(grille), made.grille),
        Detail(rect(half - 0.5, top - 0.12, half + 0.5, top - 0.10), (170, 172, 176)),
        Detail(rect(half - 0.07, top - 0.15, half + 0.07, top - 0.06), (196, 198, 202)),
        Detail(pair(width, 0, 0.1, 0.09, top), tone(paint, 0.85)),
        Detail(rect(half - 0.26, 0.06, half + 0.26, 0.17), PLATE),
        Detail(np.array([left, right]), (232, 236, 238), glow=1.0, gloss=0.2),
    ]
    return _across(half, half, (low + 0.02, end), (made.nose_y, end), paint, details)


def _across(low_half: float, high_half: float, low: tuple[float, float], high: tuple[float, float], paint: Colour,
            details: list[Detail] | None = None, *, gloss: float = 0.0) -> Panel:  # fmt: skip
    """A panel across the car, between two edges at (y, z), each `half` wide to either side."""
    (y0, z0), (y1, z1) = low, high
    corners = [(-low_half, y0, z0), (low_half, y0, z0), (high_half, y1, z1), (-high_half, y1, z1)]
    return quad(corners, paint, _INSIDE, details or (), gloss=gloss)


def _lids(made: _Car) -> list[Panel]:
    """Boot lid and bonnet, each with the bevel of its outer edge."""
    kind, paint, half, base, end, belt = made.kind, made.paint, made.half, made.base, made.end, made.kind.belt
    rear, _, _, front = made.stations
    panels = [_across(half, base, (made.tail_y, -end), (kind.deck_y, -end + 0.1), tone(paint, 1.08), gloss=0.3)]
    if kind.deck > 0.2:
        panels.append(_across(base, base, (kind.deck_y, -end + 0.1), (belt, rear), paint, gloss=0.45))
    panels.append(_across(half, base, (made.nose_y, end), (kind.nose, end - 0.15), tone(paint, 1.05), gloss=0.3))
    folds = [
        Detail(rect(0.3, 0.1, 0.33, kind.bonnet - 0.35), tone(paint, 0.85)),
        Detail(rect(2 * base - 0.33, 0.1, 2 * base - 0.3, kind.bonnet - 0.35), tone(paint, 0.85)),
    ]
    panels.append(_across(base, base, (kind.nose, end - 0.15), (belt, front), paint, folds, gloss=0.45))
    return panels


def _cabin(made: _Car) -> list[Panel]:
    """Side windows, rear window, windscreen, roof."""
    paint, glass, belt, height, base, roof = made.paint, made.glass, made.kind.belt, made.height, made.base, made.roof
    rear, roof_rear, roof_front, front = made.stations
    panels = []
    slant = float(np.hypot(base - roof, height - belt)) / (height - belt)

    def at(u: float, v: float) -> list[float]:
        """u from rear to front, v from belt to roof -> metres along and up the side from its lower rear corner."""
        z = (rear + (front - rear) * u) * (1 - v) + (roof_rear + (roof_front - roof_rear) * u) * v
        return [z - rear, (height - belt) * v * slant]

    for sign in (-1, 1):
        corners = [
            (sign * base, belt, rear), (sign * base, belt, front),
            (sign * roof, height, roof_front), (sign * roof, height, roof_rear),
        ]  # fmt: skip
        details = []
        for u0, u1 in made.panes:
            pane = np.array([at(u0, 0.04), at(u1, 0.04), at(u1, 0.9), at(u0, 0.9)])
            a, b, c, d = pane
            shine = np.array([a * 0.45 + b * 0.55, a * 0.25 + b * 0.75, d * 0.45 + c * 0.55, d * 0.7 + c * 0.3])
            details += [Detail(pane, glass, gloss=0.45), Detail(shine, tone(glass, 1.45), gloss=0.5)]
        panels.append(quad(corners, tone(paint, 0.93), _INSIDE, details))

    def pane_across(margin: float, low: float, high: float, long: float) -> Points:
        """A part of a window across: `margin` metres from its sides, from `low` to `high` of its slope."""
        first, last = (base - (base - margin) * (1 - (1 - roof / base) * share) for share in (low, high))
        return np.array(
            [[first, low * long], [2 * base - first, low * long], [2 * base - last, high * long], [last, high * long]]
        )

    long = float(np.hypot(roof_rear - rear, height - belt))
    rests = np.array([circle(16) * [0.15, 0.11] + [base + shift, long * 0.2] for shift in (-0.38, 0.38)])
    details = [
        Detail(pane_across(0.1, 0.08, 0.92, long), glass, gloss=0.4),
        Detail(rests, tone(glass, 0.72)),
        Detail(pane_across(0.14, 0.66, 0.88, long), tone(glass, 1.5), gloss=0.55),
    ]
    panels.append(_across(base, roof, (belt, rear), (height, roof_rear), tone(paint, 0.96), details))
    long = float(np.hypot(front - roof_front, height - belt))
    people = np.array([circle(8) * 0.12 + [base + shift, long * 0.42] for shift in (-0.36, 0.36)])
    details = [
        Detail(pane_across(0.07, 0.05, 0.94, long), glass, gloss=0.5),
        Detail(people[: made.heads], (92, 74, 66)),
        Detail(pane_across(0.12, 0.62, 0.9, long), tone(glass, 1.5), gloss=0.6),
    ]
    panels.append(_across(base, roof, (belt, front), (height, roof_front), tone(paint, 0.96), details))
    panels.append(_across(roof, roof, (height, roof_rear), (height, roof_front), paint, gloss=0.5))
    return panels


def _mirrors(made: _Car) -> list[Panel]:
    """Both wing mirrors."""
    y, z = made.kind.belt, made.stations[3] - 0.35
    panels = []
    for x in ((-made.half, -made.half - 0.2), (made.half, made.half + 0.2)):
        panels += _from_both_sides(x, y, z, tone(made.paint, 0.7))
    return panels


def _from_both_sides(x: Span, y: float, z: float, colour: Colour, details: Sequence[Detail] = ()) -> list[Panel]:
    """An upright board 16 cm high, seen from ahead and from behind."""
    return [upright(x, (y, y + 0.16), z, colour, (0.0, 0.6, behind), details) for behind in (5.0, -5.0)]
