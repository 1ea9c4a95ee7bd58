"""Cars, lorries, buses and trams as solids. Own frame: the origin on the ground below the middle, z towards the front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from effdet.data.streets.looks import Look, car_paint, tone, vary
from effdet.data.streets.marks import Colour, circle
from effdet.data.streets.panels import Detail, Lamp, Panel, Points, Solid, quad, rect, side

GLASS: Colour = (44, 54, 64)
TYRE: Colour = (24, 24, 26)
TRIM: Colour = (34, 35, 38)
RED: Colour = (206, 26, 24)
WHITE_LIGHT: Colour = (248, 246, 226)
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


@lru_cache(maxsize=1024)
def car(look: Look) -> Vehicle:
    rng = look.rng("car")
    paint = car_paint(rng)
    taxi = rng.random() < 0.05
    if taxi:
        paint = (232, 190, 40)
    kind = ("sedan", "hatch", "suv", "wagon", "van", "sport")[int(rng.choice(6, p=[0.25, 0.27, 0.2, 0.12, 0.12, 0.04]))]
    shapes = {  # length, width, height, belt, hood at the nose, rear deck height, deck length, hood length, rake
        "sedan": (4.6, 1.82, 1.45, 0.94, 0.72, 0.98, 0.62, 1.25, 0.62),
        "hatch": (4.0, 1.76, 1.50, 0.96, 0.74, 0.96, 0.05, 1.00, 0.58),
        "suv": (4.5, 1.88, 1.72, 1.10, 0.92, 1.10, 0.05, 1.10, 0.50),
        "wagon": (4.7, 1.82, 1.48, 0.94, 0.72, 0.96, 0.05, 1.20, 0.60),
        "van": (4.9, 1.94, 1.98, 1.12, 0.98, 1.10, 0.02, 0.85, 0.60),
        "sport": (4.3, 1.86, 1.28, 0.86, 0.62, 0.90, 0.55, 1.35, 0.75),
    }
    length, width, height, belt, nose, deck_y, deck, hood, rake = shapes[kind]
    grow = rng.uniform(0.95, 1.05)
    length, height = length * grow, height * rng.uniform(0.97, 1.04)
    half, end = width / 2, length / 2
    clearance = 0.30 if kind == "suv" else 0.22
    radius = 0.36 if kind == "suv" else 0.32
    low = tone(paint, 0.55)
    rim = vary(rng, (158, 160, 164), 14)
    glass = vary(rng, GLASS, 8)
    inside = (0.0, 0.6, 0.0)

    # Stations along z of the roof line.
    z_deck, z_cowl = -end + deck, end - hood
    rear_rake = {"sedan": 0.62, "hatch": 0.40, "suv": 0.28, "wagon": 0.30, "van": 0.12, "sport": 0.85}[kind]
    z_roof_rear, z_roof_front = z_deck + rear_rake, z_cowl - rake
    base, roof = half * 0.97, half * 0.76

    body = np.array(
        [
            [-end, clearance],
            [-end, deck_y - 0.05],
            [-end + 0.1, deck_y],
            [z_deck, belt],
            [z_cowl, belt],
            [end - 0.15, nose],
            [end, nose - 0.15],
            [end, clearance + 0.02],
        ]
    )
    z_rear, z_front = -end + 0.18 * length, end - 0.185 * length
    door = rect(z_rear + 0.42, clearance + 0.1, z_rear + 0.425, belt)
    doors = (
        [door + [shift, 0] for shift in (0.62 * grow, 1.55 * grow)]
        if kind != "van"
        else [door + [0.95, 0], door + [1.75, 0]]
    )
    line = rect(-end + 0.12, belt - 0.13, end - 0.45, belt - 0.10)
    line[2:, 1] -= 0.02
    flank = [
        Detail(rect(-end + 0.02, clearance, end - 0.02, clearance + 0.12), low if rng.random() < 0.6 else TRIM),
        Detail(
            np.array(
                [
                    [-end + 0.03, belt * 0.62],
                    [end - 0.06, belt * 0.56],
                    [end - 0.06, belt * 0.42],
                    [-end + 0.03, belt * 0.42],
                ]
            ),
            tone(paint, 0.86),
        ),
        Detail(line, tone(paint, 1.22)),
        *(Detail(shape, tone(paint, 0.5)) for shape in doors),
        *(
            Detail(rect(shape[0, 0] + 0.08, belt - 0.22, shape[0, 0] + 0.26, belt - 0.18), tone(paint, 0.6))
            for shape in doors
        ),
        Detail(rect(-end, deck_y - 0.32, -end + 0.16, deck_y - 0.1), RED, glow=0.5),
        Detail(
            np.array([[end - 0.3, nose - 0.16], [end, nose - 0.26], [end, nose - 0.14], [end - 0.28, nose - 0.05]]),
            (222, 226, 228),
            glow=0.6,
        ),
        *wheel(z_rear, radius, rim),
        *wheel(z_front, radius, rim),
    ]
    panels = [under(half, -end + 0.36, radius, 0.22, clearance), under(half, end - 0.36, radius, 0.22, clearance)]
    panels += [side(-half, body, paint, flank), side(half, body, paint, flank)]

    # The two ends. A quad's details lie in metres from its first corner, along its first edge.
    tail_y = deck_y - 0.05
    tail_lamp = 0.34 if kind in ("sedan", "sport") else 0.20
    tail_high = 0.17 if kind in ("sedan", "sport") else 0.34
    tail_top = tail_y - clearance - 0.04
    tail = [
        Detail(rect(0, 0, width, 0.2), low if rng.random() < 0.5 else TRIM),
        Detail(rect(0.1, 0.0, width - 0.1, 0.06), TRIM),
        Detail(np.array([rect(0, 0.2, 0.09, tail_top), rect(width - 0.09, 0.2, width, tail_top)]), tone(paint, 0.82)),
        Detail(rect(0.09, 0.2, width - 0.09, 0.2 + 0.34 * (tail_top - 0.2)), tone(paint, 0.88)),
        Detail(rect(0.09, tail_top - 0.07, width - 0.09, tail_top - 0.02), tone(paint, 1.2)),
        Detail(rect(half - 0.52, 0.24, half + 0.52, 0.40), tone(paint, 0.7)),
        Detail(np.array([rect(0.22, 0.02, 0.42, 0.09), rect(width - 0.42, 0.02, width - 0.22, 0.09)]), (88, 90, 92)),
        Detail(rect(half - 0.26, 0.26, half + 0.26, 0.38), PLATE),
        Detail(rect(half - 0.21, 0.30, half + 0.21, 0.34), (92, 92, 96)),
        Detail(rect(half - 0.08, tail_top - 0.15, half + 0.08, tail_top - 0.09), (190, 192, 196)),
        Detail(
            np.array(
                [
                    rect(0.03, tail_top - tail_high, tail_lamp + 0.06, tail_top),
                    rect(width - tail_lamp - 0.06, tail_top - tail_high, width - 0.03, tail_top),
                ]
            ),
            RED,
            glow=0.75,
        ),
        Detail(
            np.array(
                [
                    rect(0.06, tail_top - tail_high * 0.45, tail_lamp, tail_top - tail_high * 0.3),
                    rect(width - tail_lamp, tail_top - tail_high * 0.45, width - 0.06, tail_top - tail_high * 0.3),
                ]
            ),
            (240, 190, 170),
        ),
    ]
    panels.append(
        quad(
            [(-half, clearance, -end), (half, clearance, -end), (half, tail_y, -end), (-half, tail_y, -end)],
            paint,
            inside,
            tail,
        )
    )
    nose_y = nose - 0.15
    front_top = nose_y - clearance
    grille = vary(rng, (30, 31, 34), 6)
    front = [
        Detail(rect(0, 0, width, 0.1), low),
        Detail(np.array([[0.25, 0.04], [width - 0.25, 0.04], [width - 0.36, 0.19], [0.36, 0.19]]), TRIM),
        Detail(
            np.array(
                [
                    [half - 0.48, front_top - 0.2],
                    [half + 0.48, front_top - 0.2],
                    [half + 0.56, front_top - 0.03],
                    [half - 0.56, front_top - 0.03],
                ]
            ),
            grille,
        ),
        Detail(rect(half - 0.5, front_top - 0.12, half + 0.5, front_top - 0.10), (170, 172, 176)),
        Detail(rect(half - 0.07, front_top - 0.15, half + 0.07, front_top - 0.06), (196, 198, 202)),
        Detail(rect(half - 0.26, 0.06, half + 0.26, 0.17), PLATE),
        Detail(
            np.array(
                [
                    [[0.04, front_top - 0.14], [0.40, front_top - 0.16], [0.42, front_top - 0.04], [0.04, front_top]],
                    [
                        [width - 0.40, front_top - 0.16],
                        [width - 0.04, front_top - 0.14],
                        [width - 0.04, front_top],
                        [width - 0.42, front_top - 0.04],
                    ],
                ]
            ),
            (232, 236, 238),
            glow=1.0,
            gloss=0.2,
        ),
    ]
    panels.append(
        quad(
            [(-half, clearance + 0.02, end), (half, clearance + 0.02, end), (half, nose_y, end), (-half, nose_y, end)],
            paint,
            inside,
            front,
        )
    )

    # Deck, bonnet and their bevels.
    panels.append(
        quad(
            [(-half, tail_y, -end), (half, tail_y, -end), (base, deck_y, -end + 0.1), (-base, deck_y, -end + 0.1)],
            tone(paint, 1.08),
            inside,
            gloss=0.3,
        )
    )
    if deck > 0.2:
        panels.append(
            quad(
                [(-base, deck_y, -end + 0.1), (base, deck_y, -end + 0.1), (base, belt, z_deck), (-base, belt, z_deck)],
                paint,
                inside,
                gloss=0.45,
            )
        )
    panels.append(
        quad(
            [(-half, nose_y, end), (half, nose_y, end), (base, nose, end - 0.15), (-base, nose, end - 0.15)],
            tone(paint, 1.05),
            inside,
            gloss=0.3,
        )
    )
    bonnet_lines = [
        Detail(rect(0.3, 0.1, 0.33, hood - 0.35), tone(paint, 0.85)),
        Detail(rect(2 * base - 0.33, 0.1, 2 * base - 0.3, hood - 0.35), tone(paint, 0.85)),
    ]
    panels.append(
        quad(
            [(-base, nose, end - 0.15), (base, nose, end - 0.15), (base, belt, z_cowl), (-base, belt, z_cowl)],
            paint,
            inside,
            bonnet_lines,
            gloss=0.45,
        )
    )

    # Greenhouse: two sides, rear window, windscreen, roof.
    cabin = np.array([[z_deck, belt], [z_cowl, belt], [z_roof_front, height], [z_roof_rear, height]])

    def at(u: float, v: float) -> list[float]:
        """A point of the cabin's side in (z, y): u from rear to front, v from belt to roof."""
        bottom = cabin[0] + (cabin[1] - cabin[0]) * u
        top = cabin[3] + (cabin[2] - cabin[3]) * u
        return (bottom + (top - bottom) * v).tolist()

    split = 0.5 if kind in ("sedan", "hatch", "sport") else 0.56
    panes = (
        [(0.05, split - 0.02), (split + 0.02, 0.95)] if kind != "wagon" else [(0.04, 0.26), (0.30, 0.60), (0.64, 0.95)]
    )
    if kind == "van" and rng.random() < 0.6:
        panes = panes[1:]
    for sign in (-1, 1):
        corners = [
            (sign * base, belt, z_deck),
            (sign * base, belt, z_cowl),
            (sign * roof, height, z_roof_front),
            (sign * roof, height, z_roof_rear),
        ]
        slant = float(np.hypot(base - roof, height - belt)) / (height - belt)
        glasses = []
        for u0, u1 in panes:
            pane = np.array([at(u0, 0.04), at(u1, 0.04), at(u1, 0.9), at(u0, 0.9)])
            pane = np.stack([pane[:, 0] - z_deck, (pane[:, 1] - belt) * slant], 1)
            glasses.append(Detail(pane, glass, gloss=0.45))
            shine = np.array(
                [
                    pane[0] * 0.45 + pane[1] * 0.55,
                    pane[0] * 0.25 + pane[1] * 0.75,
                    pane[3] * 0.45 + pane[2] * 0.55,
                    pane[3] * 0.7 + pane[2] * 0.3,
                ]
            )
            glasses.append(Detail(shine, tone(glass, 1.45), gloss=0.5))
        panels.append(quad(corners, tone(paint, 0.93), inside, glasses))
    back_slant = float(np.hypot(z_roof_rear - z_deck, height - belt))
    ratio = roof / base

    def pane_between(margin: float, low_edge: float, high_edge: float, long: float) -> Points:
        left = base - (base - margin) * (1 - (1 - ratio) * low_edge)
        left_top = base - (base - margin) * (1 - (1 - ratio) * high_edge)
        return np.array(
            [
                [left, low_edge * long],
                [2 * base - left, low_edge * long],
                [2 * base - left_top, high_edge * long],
                [left_top, high_edge * long],
            ]
        )

    heads = [circle(16) * [0.15, 0.11] + [base + shift, back_slant * 0.2] for shift in (-0.38, 0.38)]
    rear_window = [
        Detail(pane_between(0.1, 0.08, 0.92, back_slant), glass, gloss=0.4),
        Detail(np.array(heads), tone(glass, 0.72)),
        Detail(pane_between(0.14, 0.66, 0.88, back_slant), tone(glass, 1.5), gloss=0.55),
    ]
    panels.append(
        quad(
            [(-base, belt, z_deck), (base, belt, z_deck), (roof, height, z_roof_rear), (-roof, height, z_roof_rear)],
            tone(paint, 0.96),
            inside,
            rear_window,
        )
    )
    front_slant = float(np.hypot(z_cowl - z_roof_front, height - belt))
    driver = [circle(8) * 0.12 + [base + shift, front_slant * 0.42] for shift in (-0.36, 0.36)]
    windscreen = [
        Detail(pane_between(0.07, 0.05, 0.94, front_slant), glass, gloss=0.5),
        Detail(np.array(driver[: 1 + int(rng.random() < 0.4)]), (92, 74, 66)),
        Detail(pane_between(0.12, 0.62, 0.9, front_slant), tone(glass, 1.5), gloss=0.6),
    ]
    panels.append(
        quad(
            [(-base, belt, z_cowl), (base, belt, z_cowl), (roof, height, z_roof_front), (-roof, height, z_roof_front)],
            tone(paint, 0.96),
            inside,
            windscreen,
        )
    )
    panels.append(
        quad(
            [
                (-roof, height, z_roof_rear),
                (roof, height, z_roof_rear),
                (roof, height, z_roof_front),
                (-roof, height, z_roof_front),
            ],
            paint,
            inside,
            gloss=0.5,
        )
    )
    mirrors = [
        quad(
            [
                (s * half, belt, z_cowl - 0.35),
                (s * (half + 0.2), belt, z_cowl - 0.35),
                (s * (half + 0.2), belt + 0.16, z_cowl - 0.35),
                (s * half, belt + 0.16, z_cowl - 0.35),
            ],
            tone(paint, 0.7),
            (0.0, 0.6, toward),
        )
        for s in (-1, 1)
        for toward in (5.0, -5.0)
    ]
    panels += mirrors
    if taxi:
        sign_box = [
            (-0.25, height, -0.1),
            (0.25, height, -0.1),
            (0.25, height + 0.16, -0.1),
            (-0.25, height + 0.16, -0.1),
        ]
        panels += [
            quad(sign_box, (246, 236, 170), (0.0, 0.6, z), [Detail(rect(0.05, 0.05, 0.45, 0.11), TRIM)])
            for z in (5.0, -5.0)
        ]
    lamps = tuple(
        [
            Lamp((x, clearance + tail_top - 0.1, -end), 0.09, (255, 44, 30), (0.0, 0.0, -1.0))
            for x in (-half + 0.2, half - 0.2)
        ]
        + [
            Lamp((x, clearance + front_top - 0.07, end), 0.13, (255, 244, 214), (0.0, 0.0, 1.0))
            for x in (-half + 0.23, half - 0.23)
        ]
    )
    return Vehicle((Solid(tuple(panels), lamps),), length, width, height)
