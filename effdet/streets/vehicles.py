"""What all vehicles share: colours, wheels, what lies below them.

Own frame of a vehicle: the origin on the ground below the middle, z towards the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.streets.looks import tone
from effdet.streets.marks import Colour, circle
from effdet.streets.panels import Detail, Panel, Solid, quad, rect

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
    turns = np.arange(5) * (2 * np.pi / 5)
    spokes = [
        np.array(
            [
                [np.cos(a - 0.24), np.sin(a - 0.24)],
                [np.cos(a + 0.24), np.sin(a + 0.24)],
                [0.12 * np.cos(a + 1.6), 0.12 * np.sin(a + 1.6)],
                [0.12 * np.cos(a - 1.6), 0.12 * np.sin(a - 1.6)],
            ]
        )
        * radius
        * 0.64
        + centre
        for a in turns
    ]
    details.append(Detail(np.array(spokes), rim))
    details.append(Detail(circle(8) * radius * 0.16 + centre, tone(rim, 0.8)))
    return details


def under(half: float, z: float, radius: float, tyre_width: float, clearance: float) -> Panel:
    """What is seen below the bumper: shadow and the treads of two tyres at depth `z`, facing the nearer end."""
    left, right = -half + 0.05, half - 0.05
    inside = (0.0, 0.3, 0.0)
    return quad(
        [(left, 0.09, z), (right, 0.09, z), (right, clearance + 0.1, z), (left, clearance + 0.1, z)],
        (14, 14, 16),
        inside,
        [
            Detail(rect(0, -0.09, tyre_width, radius), TYRE, mask=True),
            Detail(rect(right - left - tyre_width, -0.09, right - left, radius), TYRE, mask=True),
        ],
    )
