"""The layout of a street: road, lanes, crossing, houses, plants and furniture as plain parameters, drawn from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from effdet.streets.canvas import Camera
from effdet.streets.light import TIMES, WEATHERS, Light, make_light
from effdet.streets.rng import generator

FAR = 90.0
"""Metres: the street is laid out up to here."""

_TIME_SHARE = (0.66, 0.14, 0.20)
_WEATHER_SHARE = (0.40, 0.26, 0.13, 0.09, 0.12)


@dataclass(frozen=True)
class Lane:
    offset: float
    """Metres from the camera to the lane's middle, to the right."""
    direction: int
    """+1: away from us, -1: towards us."""


@dataclass(frozen=True)
class Street:
    """Offsets are metres to the right of the camera's path, before the street bends."""

    district: str
    slope: float
    bend: float
    lanes: tuple[Lane, ...]
    left: float
    right: float
    park_left: bool
    park_right: bool
    walk: tuple[float, float]
    """Widths of the left and right sidewalk."""
    verge: tuple[float, float]
    """Widths of the green strips between sidewalk and houses."""
    crossing: float | None
    """Depth of the middle of a crossing street."""
    crossing_half: float
    zebra: float | None
    """Depth of a zebra crossing's nearer edge."""
    tram: int | None
    """Index of the lane with rails."""
    autumn: bool
    bike_lane: bool
    """Whether a red strip along the right edge is for bicycles."""
    paint: float
    """0…1: how fresh the lane marks are."""

    def centre(self, z: np.ndarray | float) -> np.ndarray | float:
        """How far the street has bent away at a depth, metres."""
        return self.slope * z + self.bend * z * z * 0.5

    def beside(self, side: int, metres: float, z: float) -> float:
        """x of what stands some metres off the right (1) or left (-1) kerb, at a depth."""
        return (self.right + metres if side > 0 else self.left - metres) + float(self.centre(z))

    def heading(self, z: float) -> float:
        return math.atan(self.slope + self.bend * z)

    def in_crossing(self, z: float, margin: float = 0.0) -> bool:
        return self.crossing is not None and abs(z - self.crossing) < self.crossing_half + margin


@dataclass(frozen=True)
class Layout:
    """Everything of a scene that is not a thing."""

    street: Street
    camera: Camera
    light: Light
    lamps: tuple[tuple[float, float, int], ...] = field(default=())
    """(offset x, z, side) of the street lamps."""


PARKING = 2.1
"""Metres: width of a row of parked cars."""


def make_street(rng: np.random.Generator) -> Street:
    district = str(rng.choice(["city", "town", "suburb"], p=[0.4, 0.38, 0.22]))
    lane = rng.uniform(2.85, 3.35)
    away = int(rng.choice([1, 2], p={"city": [0.45, 0.55], "town": [0.75, 0.25], "suburb": [0.92, 0.08]}[district]))
    towards = away if rng.random() < 0.85 else 1
    mine = away - 1 if rng.random() < 0.72 else 0  # which lane of ours the camera drives in, from the middle line
    middle = -(mine + 0.5) * lane + rng.normal(0, 0.2)
    lanes = [Lane(middle + (k + 0.5) * lane, 1) for k in range(away)] + [
        Lane(middle - (k + 0.5) * lane, -1) for k in range(towards)
    ]
    park_left, park_right = bool(rng.random() < 0.5), bool(rng.random() < 0.42)
    left = middle - towards * lane - (PARKING if park_left else 0.3)
    right = middle + away * lane + (PARKING if park_right else 0.3)
    crossing = float(rng.uniform(14, 30)) if rng.random() < 0.5 else None
    half = float(rng.uniform(3.4, 5.5))
    zebra = None
    if crossing is not None:
        zebra = crossing - half - 4.2 if rng.random() < 0.75 else None
    elif rng.random() < 0.4:
        zebra = float(rng.uniform(6.5, 18))
    bend = float(rng.normal(0, 0.0022)) if crossing is None else float(rng.normal(0, 0.0007))
    return Street(
        district,
        float(rng.normal(0, 0.035)),
        float(np.clip(bend, -0.005, 0.005)),
        tuple(lanes),
        float(left),
        float(right),
        park_left,
        park_right,
        (float(rng.uniform(2.0, 4.2)), float(rng.uniform(2.0, 4.2))),
        tuple(
            float(rng.uniform(1.5, 5.0))
            if rng.random() < {"city": 0.15, "town": 0.4, "suburb": 0.95}[district]
            else 0.0
            for _ in range(2)
        ),  # type: ignore[arg-type]
        crossing,
        half,
        zebra,
        int(rng.integers(len(lanes))) if district != "suburb" and rng.random() < 0.28 else None,
        bool(rng.random() < 0.25),
        bool(rng.random() < 0.2 and not park_right),
        float(rng.uniform(0.45, 1.0)),
    )


def make_layout(seed: int, split: str, index: int) -> Layout:
    """The layout of image `index` of a split: a function of only its arguments."""
    street = make_street(generator(seed, split, index, "street"))
    rng = generator(seed, split, index, "light")
    time = TIMES[int(rng.choice(3, p=_TIME_SHARE))]
    weather = WEATHERS[int(rng.choice(5, p=_WEATHER_SHARE))]
    camera = Camera(
        float(rng.uniform(0.76, 1.02)),
        float(rng.uniform(0.42, 0.55)),
        float(rng.choice([rng.uniform(1.2, 1.7), rng.uniform(1.8, 2.8)], p=[0.7, 0.3])),
    )
    spots = []
    spacing, first = rng.uniform(15, 24), rng.uniform(4, 14)
    for side in (-1, 1):
        if side < 0 and rng.random() < 0.3:
            continue
        z = first + (spacing / 2 if side < 0 else 0)
        while z < FAR * 0.8:
            if not street.in_crossing(z, 1.0):
                edge = street.left - 0.5 if side < 0 else street.right + 0.5
                spots.append((edge, z, side))
            z += spacing
    reach = 1.7
    lights = tuple((x - side * reach + float(street.centre(z)), z) for x, z, side in spots if z < 60)
    return Layout(street, camera, make_light(rng, time, weather, lights), tuple(spots))
