"""What all vehicles share: colours, wheels, what lies below them.

Own frame of a vehicle: the origin on the ground below the middle, z towards the front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from effdet.streets.canvas import Colour, circle
from effdet.streets.looks import tone
from effdet.streets.panels import Detail, Lamp, Panel, Solid, rect, upright

GLASS: Colour = (44, 54, 64)
TYRE: Colour = (24, 24, 26)
TRIM: Colour = (34, 35, 38)
RED: Colour = (206, 26, 24)
AMBER: Colour = (236, 146, 36)
PLATE: Colour = (226, 226, 214)


@dataclass(frozen=True)
class Vehicle:
    """Solids and the room they take."""

    solids: tuple[Solid, ...]
    """Convex-ish parts; the farther is drawn first."""
    length: float
    width: float
    height: float


def wheel(z: float, radius: float, rim: Colour, *, arch: Colour | None = (22, 22, 24)) -> list[Detail]:
    """A wheel on a side panel (axes z, y): arch, tyre, rim, spokes, hub."""
    details = []
    centre = np.array([z, radius])
    ring = circle(16)
    if arch is not None:
        shape = ring * radius * 1.2 + centre
        details.append(Detail(shape[shape[:, 1] > radius * 0.62], arch))
    details.append(Detail(ring * radius + centre, TYRE, mask=True))
    details.append(Detail(ring * radius * 0.68 + centre, tone(rim, 0.62)))
    # (5, 4): spokes by their corners, two at the rim and two at the hub.
    angles = np.arange(5)[:, None] * (2 * np.pi / 5) + [-0.24, 0.24, 1.6, -1.6]
    spokes = np.stack([np.cos(angles), np.sin(angles)], 2) * [[1.0], [1.0], [0.12], [0.12]]
    details.append(Detail(spokes * radius * 0.64 + centre, rim))
    details.append(Detail(circle(8) * radius * 0.16 + centre, tone(rim, 0.8)))
    return details


def under(half: float, z: float, radius: float, tyre_width: float, clearance: float) -> Panel:
    """What is seen below the bumper: shadow and the treads of two tyres at depth `z`, facing the nearer end."""
    left, right = -half + 0.05, half - 0.05
    spans = ((0, tyre_width), (right - left - tyre_width, right - left))
    tyres = [Detail(rect(start, -0.09, stop, radius), TYRE, mask=True) for start, stop in spans]
    return upright((left, right), (0.09, clearance + 0.1), z, (14, 14, 16), (0.0, 0.3, 0.0), tyres)


def lamps(
    half: float,
    end: float,
    tail: tuple[float, float, float],
    head: tuple[float, float, float],
    red: Colour = (255, 40, 28),
) -> tuple[Lamp, ...]:
    """Tail lamps and headlights, each as metres from the flank, height and radius."""
    return tuple(
        Lamp((x, y, z), radius, colour, (0.0, 0.0, math.copysign(1.0, z)))
        for (inset, y, radius), z, colour in ((tail, -end, red), (head, end, (255, 244, 214)))
        for x in (-half + inset, half - inset)
    )
