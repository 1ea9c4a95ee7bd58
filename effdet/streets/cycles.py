"""Bicycles and motorcycles: tubes and wheels in space. Own frame: z ahead, origin on the ground below the middle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from effdet.streets.camera import NEAR, Camera
from effdet.streets.light import Light
from effdet.streets.looks import Look, tone, vary
from effdet.streets.marks import Colour, Mark, circle
from effdet.streets.panels import Pose

_PAINT: tuple[Colour, ...] = (
    (186, 36, 40),
    (34, 84, 160),
    (40, 40, 44),
    (226, 226, 226),
    (44, 128, 84),
    (228, 172, 40),
    (120, 60, 130),
    (90, 170, 180),
)


@dataclass(frozen=True)
class Cycle:
    """Measures in metres; points as (z, y)."""

    motor: bool
    paint: Colour
    dark: Colour
    radius: float
    wheelbase: float
    seat: tuple[float, float]
    bars: tuple[float, float]
    crank: tuple[float, float]
    basket: bool
    scooter: bool
    length: float


@lru_cache(maxsize=1024)
def bicycle(look: Look) -> Cycle:
    rng = look.rng("cycle")
    scale = float(rng.uniform(0.95, 1.06))
    paint = vary(rng, _PAINT[int(rng.integers(len(_PAINT)))], 12)
    radius, base = 0.345 * scale, 1.06 * scale
    drop = rng.random() < 0.3
    return Cycle(
        False,
        paint,
        (34, 34, 36),
        radius,
        base,
        (-0.22 * scale, 0.95 * scale),
        (0.34 * scale, (0.96 if drop else 1.06) * scale),
        (-0.04, 0.29),
        bool(rng.random() < 0.3),
        False,
        base + 2 * radius,
    )


@lru_cache(maxsize=1024)
def motorcycle(look: Look) -> Cycle:
    rng = look.rng("cycle")
    scooter = bool(rng.random() < 0.45)
    paint = vary(rng, _PAINT[int(rng.integers(len(_PAINT)))], 12)
    radius, base = (0.24, 1.28) if scooter else (0.31, 1.42)
    bars = (0.44, 1.02) if scooter else (0.34, 1.04)
    return Cycle(
        True,
        paint,
        (32, 32, 35),
        radius,
        base,
        (-0.26, 0.80),
        bars,
        (0.1 if scooter else -0.02, 0.30),
        bool(rng.random() < 0.35),
        scooter,
        base + 2 * radius,
    )


class _Pen:
    """Draws tubes, discs and plates of one cycle."""

    def __init__(self, pose: Pose, camera: Camera, light: Light, depth: float) -> None:
        self.pose, self.camera, self.light, self.depth = pose, camera, light, depth
        self.glow = light.glow(pose.x, pose.z) * 0.75
        self.front = 0.25 + 0.5 * max(0.0, -light.sun[2]) + 0.25 * abs(light.sun[0])
        self.marks: list[Mark] = []

    def tint(self, colour: Colour) -> Colour:
        return self.light.shade(colour, self.front, self.depth, self.glow)

    def place(self, points: list[tuple[float, float, float]] | np.ndarray) -> np.ndarray:
        return self.camera.project(self.pose.world(np.asarray(points, float)))

    def tube(
        self, points: list[tuple[float, float, float]], width: float, colour: Colour, *, closed: bool = False
    ) -> None:
        size = self.camera.size(width, self.depth)
        self.marks.append(Mark(self.place(points), self.tint(colour), kind="line", width=size, closed=closed))
        if size > 0.008:  # a highlight along thick tubes
            self.marks.append(
                Mark(
                    self.place([(x, y + width * 0.2, z) for x, y, z in points]),
                    self.tint(tone(colour, 1.35)),
                    mask=False,
                    kind="line",
                    width=size * 0.3,
                    closed=closed,
                )
            )

    def plate(self, points: list[tuple[float, float]], colour: Colour, x: float = 0.0) -> None:
        self.marks.append(Mark(self.place([(x, y, z) for z, y in points]), self.tint(colour)))


def _wheel(pen: _Pen, z: float, radius: float, tyre: float, paint: Colour, *, full: bool) -> None:
    ring = np.zeros((24, 3))
    ring[:, 1:] = circle(24) * (radius - tyre / 2) + [radius, z]
    flat = pen.place(ring)
    pen.marks.append(Mark(flat, pen.tint(paint) if full else None))
    inner = (flat - flat.mean(0)) * 0.93 + flat.mean(0)
    if not full:
        spokes = np.stack([inner[::3], np.broadcast_to(flat.mean(0), inner[::3].shape)], 1)
        pen.marks.append(
            Mark(spokes, pen.tint((150, 152, 156)), mask=False, kind="line", width=pen.camera.size(0.006, pen.depth))
        )
    else:
        pen.marks.append(Mark((flat - flat.mean(0)) * 0.55 + flat.mean(0), pen.tint((120, 122, 126)), mask=False))
    pen.marks.append(
        Mark(flat, pen.tint((26, 26, 28)), kind="line", width=pen.camera.size(tyre, pen.depth), closed=True)
    )


def draw_cycle(cycle: Cycle, pose: Pose, camera: Camera, light: Light, *, behind_rider: bool = False) -> list[Mark]:
    """Marks of a cycle without its rider."""
    pen = _Pen(pose, camera, light, max(pose.z, NEAR))
    r, rear, front = cycle.radius, -cycle.wheelbase / 2, cycle.wheelbase / 2
    towards = pose.turn(0.0, 0.0, 1.0)[2] < 0  # the front wheel is the nearer
    wheels = [(rear, False), (front, True)]
    if not towards:
        wheels.reverse()
    if cycle.motor:
        _motor(pen, cycle, wheels, r, rear, front)
    else:
        for z, _ in wheels[:1]:
            _wheel(pen, z, r, 0.045, cycle.dark, full=False)
        seat, bars, crank = cycle.seat, cycle.bars, cycle.crank
        neck = (bars[0] - 0.03, bars[1] - 0.2)
        frame = [
            (0.0, neck[1], neck[0]),
            (0.0, seat[1] - 0.2, seat[0] + 0.04),
            (0.0, crank[1], crank[0]),
            (0.0, neck[1], neck[0]),
        ]
        pen.tube([(0.0, r, rear), (0.0, crank[1], crank[0])], 0.03, cycle.paint)
        pen.tube([(0.0, r, rear), (0.0, seat[1] - 0.2, seat[0] + 0.04)], 0.028, cycle.paint)
        pen.tube(frame, 0.048, cycle.paint)
        pen.tube([(0.0, crank[1], crank[0]), (0.0, seat[1], seat[0])], 0.04, tone(cycle.paint, 0.9))
        pen.tube([(0.0, r, front), (0.0, bars[1], bars[0])], 0.042, cycle.paint)
        for z, _ in wheels[1:]:
            _wheel(pen, z, r, 0.045, cycle.dark, full=False)
        pen.tube(
            [(-0.28, bars[1], bars[0] - 0.06), (0.0, bars[1] + 0.02, bars[0]), (0.28, bars[1], bars[0] - 0.06)],
            0.035,
            (40, 40, 44),
        )
        pen.tube([(0.0, seat[1], seat[0] - 0.13), (0.0, seat[1] + 0.01, seat[0] + 0.1)], 0.075, (30, 28, 28))
        pen.tube([(-0.07, seat[1], seat[0] - 0.1), (0.07, seat[1], seat[0] - 0.1)], 0.06, (30, 28, 28))
        pen.tube(
            [
                (-0.12, crank[1] - 0.1, crank[0] - 0.1),
                (0.0, crank[1], crank[0]),
                (0.12, crank[1] + 0.1, crank[0] + 0.1),
            ],
            0.03,
            (60, 60, 64),
        )
        if cycle.basket:
            z, y = bars[0] + 0.16, bars[1] - 0.12
            pen.marks.append(
                Mark(
                    pen.place([(-0.18, y - 0.12, z), (0.18, y - 0.12, z), (0.2, y + 0.1, z), (-0.2, y + 0.1, z)]),
                    pen.tint((136, 104, 66)),
                )
            )
            pen.plate(
                [(z - 0.14, y - 0.12), (z + 0.14, y - 0.12), (z + 0.16, y + 0.1), (z - 0.16, y + 0.1)], (120, 92, 58)
            )
        pen.tube([(0.0, 2 * r + 0.03, rear + 0.05), (0.0, 1.6 * r, rear - r * 0.85)], 0.05, tone(cycle.paint, 0.8))
    return pen.marks


def _motor(pen: _Pen, cycle: Cycle, wheels: list[tuple[float, bool]], r: float, rear: float, front: float) -> None:
    seat, bars, paint, dark = cycle.seat, cycle.bars, cycle.paint, cycle.dark
    tyre = 0.13 if not cycle.scooter else 0.11

    def wheel_at(z: float) -> None:
        _wheel(pen, z, r, tyre, (48, 48, 52), full=True)

    wheel_at(wheels[0][0])
    pen.tube([(0.0, r, front), (0.0, bars[1] - 0.06, bars[0])], 0.09, (150, 152, 156))
    if cycle.scooter:
        pen.plate([(rear - 0.1, 0.36), (rear + 0.5, 0.3), (rear + 0.56, 0.72), (rear - 0.16, 0.74)], paint)
        pen.plate([(rear + 0.4, 0.24), (front - 0.34, 0.24), (front - 0.3, 0.34), (rear + 0.4, 0.34)], tone(paint, 0.8))
        pen.plate(
            [
                (front - 0.4, 0.28),
                (front - 0.24, 0.3),
                (bars[0] + 0.06, bars[1] - 0.1),
                (bars[0] - 0.06, bars[1] - 0.08),
            ],
            paint,
        )
        pen.tube([(0.0, 0.62, rear - 0.04), (0.0, 0.6, rear + 0.4)], 0.30, paint)
        pen.tube([(-0.16, 0.55, bars[0] + 0.06), (0.16, 0.55, bars[0] + 0.06)], 0.34, paint)
    else:
        pen.plate([(-0.36, 0.3), (0.3, 0.26), (0.34, 0.62), (-0.34, 0.66)], (84, 86, 90))
        pen.tube([(0.0, 0.36, 0.16), (0.0, 0.44, -0.16)], 0.24, (112, 114, 118))
        pen.tube([(0.12, 0.32, 0.1), (0.14, 0.34, rear - 0.1)], 0.10, (176, 178, 182))
        pen.tube([(0.0, 0.84, 0.26), (0.0, 0.82, -0.04)], 0.30, paint)
        pen.tube([(0.0, 0.76, rear + 0.1), (0.0, 0.86, rear - 0.18)], 0.16, paint)
        if cycle.basket:
            pen.plate([(bars[0] + 0.26, 0.62), (bars[0] + 0.22, 1.1), (bars[0], 1.0), (0.16, 0.66)], paint)
    pen.tube([(0.0, seat[1], seat[0] - 0.28), (0.0, seat[1] - 0.02, seat[0] + 0.26)], 0.16, dark)
    wheel_at(wheels[1][0])
    pen.tube(
        [(0.0, 2 * r + 0.06, front - 0.2), (0.0, 2 * r + 0.07, front), (0.0, 1.7 * r, front + r * 0.8)],
        0.12,
        tone(paint, 0.9),
    )
    pen.tube(
        [
            (-0.34, bars[1], bars[0] - 0.08),
            (-0.1, bars[1] + 0.02, bars[0]),
            (0.1, bars[1] + 0.02, bars[0]),
            (0.34, bars[1], bars[0] - 0.08),
        ],
        0.05,
        dark,
    )
    for x in (-0.34, 0.34):
        pen.tube([(x, bars[1], bars[0] - 0.02), (x * 0.94, bars[1] + 0.18, bars[0])], 0.05, dark)
    ahead = pen.pose.turn(0.0, 0.0, 1.0)[2] < 0
    spot = pen.place([(0.0, bars[1] - 0.14, bars[0] + 0.12) if ahead else (0.0, 0.70, rear - 0.15)])[0]
    size = pen.camera.size(0.1 if ahead else 0.055, pen.depth)
    colour: Colour = (246, 244, 226) if ahead else (206, 30, 26)
    pen.marks.append(Mark(circle(12) * size * 1.25 + spot, pen.tint(dark)))
    pen.marks.append(Mark(circle(12) * size + spot, pen.light.fade(colour, pen.depth * 0.5)))
    if not ahead:
        pen.marks.append(
            Mark(
                pen.place(
                    [(-0.1, 0.46, rear - 0.2), (0.1, 0.46, rear - 0.2), (0.1, 0.6, rear - 0.2), (-0.1, 0.6, rear - 0.2)]
                ),
                pen.tint((220, 220, 210)),
            )
        )
