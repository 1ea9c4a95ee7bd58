"""Bicycles and motorcycles: tubes and wheels in space. Own frame: z ahead, origin on the ground below the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from effdet.streets.canvas import NEAR, Camera, Colour, Mark, circle, palette
from effdet.streets.labels import Label
from effdet.streets.light import Light
from effdet.streets.looks import Look, pick, tone
from effdet.streets.panels import Pose

_PAINT = palette("ba2428 2254a0 28282c e2e2e2 2c8054 e4ac28 783c82 5aaab4")


Point = tuple[float, float]
"""(z, y) in the plane of the wheels, metres."""


@dataclass(frozen=True)
class Cycle:
    """Measures in metres."""

    motor: bool
    paint: Colour
    dark: Colour
    radius: float
    wheelbase: float
    seat: Point
    bars: Point
    crank: Point
    basket: bool
    scooter: bool = False

    @property
    def length(self) -> float:
        return self.wheelbase + 2 * self.radius


@lru_cache(maxsize=1024)
def bicycle(look: Look) -> Cycle:
    rng = look.rng("cycle")
    scale = float(rng.uniform(0.95, 1.06))
    paint = pick(rng, _PAINT, 12)
    seat, bars = (-0.22 * scale, 0.95 * scale), (0.34 * scale, (0.96 if rng.random() < 0.3 else 1.06) * scale)
    basket = bool(rng.random() < 0.3)
    return Cycle(False, paint, (34, 34, 36), 0.345 * scale, 1.06 * scale, seat, bars, (-0.04, 0.29), basket)


@lru_cache(maxsize=1024)
def motorcycle(look: Look) -> Cycle:
    rng = look.rng("cycle")
    scooter = bool(rng.random() < 0.45)
    paint = pick(rng, _PAINT, 12)
    radius, base = (0.24, 1.28) if scooter else (0.31, 1.42)
    bars = (0.44, 1.02) if scooter else (0.34, 1.04)
    crank, basket = (0.1 if scooter else -0.02, 0.30), bool(rng.random() < 0.35)
    return Cycle(True, paint, (32, 32, 35), radius, base, (-0.26, 0.80), bars, crank, basket, scooter)


CYCLES: dict[int, Callable[[Look], Cycle]] = {Label.BICYCLE: bicycle, Label.MOTORCYCLE: motorcycle}
"""By label."""


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

    def tube(self, points: list[tuple[float, float, float]], width: float, colour: Colour) -> None:
        size = self.camera.size(width, self.depth)
        self.marks.append(Mark(self.place(points), self.tint(colour), kind="line", width=size))
        if size > 0.008:  # a highlight along thick tubes
            above = self.place([(x, y + width * 0.2, z) for x, y, z in points])
            self.marks.append(Mark(above, self.tint(tone(colour, 1.35)), mask=False, kind="line", width=size * 0.3))

    def bar(self, points: list[Point], width: float, colour: Colour) -> None:
        """A tube in the plane of the wheels."""
        self.tube([(0.0, y, z) for z, y in points], width, colour)

    def plate(self, points: list[Point], colour: Colour) -> None:
        self.marks.append(Mark(self.place([(0.0, y, z) for z, y in points]), self.tint(colour)))

    def board(self, low: tuple[float, float], high: tuple[float, float], z: float, colour: Colour) -> None:
        """An upright plate across, between two edges at (half width, y)."""
        (wide, bottom), (half, top) = low, high
        corners = [(-wide, bottom, z), (wide, bottom, z), (half, top, z), (-half, top, z)]
        self.marks.append(Mark(self.place(corners), self.tint(colour)))

    def wheel(self, z: float, radius: float, tyre: float, paint: Colour, *, full: bool) -> None:
        """A wheel with spokes, or a `full` one with a disc."""
        ring = np.zeros((24, 3))
        ring[:, 1:] = circle(24) * (radius - tyre / 2) + [radius, z]
        flat = self.place(ring)
        middle = flat.mean(0)
        self.marks.append(Mark(flat, self.tint(paint) if full else None))
        if full:
            self.marks.append(Mark((flat - middle) * 0.55 + middle, self.tint((120, 122, 126)), mask=False))
        else:
            inner = ((flat - middle) * 0.93 + middle)[::3]
            spokes, thin = (
                np.stack([inner, np.broadcast_to(middle, inner.shape)], 1),
                self.camera.size(0.006, self.depth),
            )
            self.marks.append(Mark(spokes, self.tint((150, 152, 156)), mask=False, kind="line", width=thin))
        width = self.camera.size(tyre, self.depth)
        self.marks.append(Mark(flat, self.tint((26, 26, 28)), kind="line", width=width, closed=True))


def draw_cycle(cycle: Cycle, pose: Pose, camera: Camera, light: Light) -> list[Mark]:
    """Marks of a cycle without its rider."""
    pen = _Pen(pose, camera, light, max(pose.z, NEAR))
    rear, front = -cycle.wheelbase / 2, cycle.wheelbase / 2
    towards = pose.turn(0.0, 0.0, 1.0)[2] < 0  # the front wheel is the nearer
    (_motorcycle if cycle.motor else _bicycle)(pen, cycle, rear, front, towards)
    return pen.marks


def _bicycle(pen: _Pen, cycle: Cycle, rear: float, front: float, towards: bool) -> None:
    r, seat, bars, crank, paint, dark = cycle.radius, cycle.seat, cycle.bars, cycle.crank, cycle.paint, cycle.dark
    far, near = (rear, front) if towards else (front, rear)
    pen.wheel(far, r, 0.045, dark, full=False)
    neck, joint = (bars[0] - 0.03, bars[1] - 0.2), (seat[0] + 0.04, seat[1] - 0.2)
    pen.bar([(rear, r), crank], 0.03, paint)
    pen.bar([(rear, r), joint], 0.028, paint)
    pen.bar([neck, joint, crank, neck], 0.048, paint)
    pen.bar([crank, seat], 0.04, tone(paint, 0.9))
    pen.bar([(front, r), bars], 0.042, paint)
    pen.wheel(near, r, 0.045, dark, full=False)
    z, y = bars
    pen.tube([(-0.28, y, z - 0.06), (0.0, y + 0.02, z), (0.28, y, z - 0.06)], 0.035, (40, 40, 44))
    pen.bar([(seat[0] - 0.13, seat[1]), (seat[0] + 0.1, seat[1] + 0.01)], 0.075, (30, 28, 28))
    pen.tube([(-0.07, seat[1], seat[0] - 0.1), (0.07, seat[1], seat[0] - 0.1)], 0.06, (30, 28, 28))
    z, y = crank
    pen.tube([(-0.12, y - 0.1, z - 0.1), (0.0, y, z), (0.12, y + 0.1, z + 0.1)], 0.03, (60, 60, 64))
    if cycle.basket:
        z, y = bars[0] + 0.16, bars[1] - 0.12
        pen.board((0.18, y - 0.12), (0.2, y + 0.1), z, (136, 104, 66))
        sides = [(z - 0.14, y - 0.12), (z + 0.14, y - 0.12), (z + 0.16, y + 0.1), (z - 0.16, y + 0.1)]
        pen.plate(sides, (120, 92, 58))
    pen.bar([(rear + 0.05, 2 * r + 0.03), (rear - r * 0.85, 1.6 * r)], 0.05, tone(paint, 0.8))


def _motorcycle(pen: _Pen, cycle: Cycle, rear: float, front: float, towards: bool) -> None:
    r, seat, (z, y), paint, dark = cycle.radius, cycle.seat, cycle.bars, cycle.paint, cycle.dark
    far, near = (rear, front) if towards else (front, rear)
    tyre = 0.11 if cycle.scooter else 0.13
    pen.wheel(far, r, tyre, (48, 48, 52), full=True)
    pen.bar([(front, r), (z, y - 0.06)], 0.09, (150, 152, 156))
    if cycle.scooter:
        pen.plate([(rear - 0.1, 0.36), (rear + 0.5, 0.3), (rear + 0.56, 0.72), (rear - 0.16, 0.74)], paint)
        pen.plate([(rear + 0.4, 0.24), (front - 0.34, 0.24), (front - 0.3, 0.34), (rear + 0.4, 0.34)], tone(paint, 0.8))
        pen.plate([(front - 0.4, 0.28), (front - 0.24, 0.3), (z + 0.06, y - 0.1), (z - 0.06, y - 0.08)], paint)
        pen.bar([(rear - 0.04, 0.62), (rear + 0.4, 0.6)], 0.30, paint)
        pen.tube([(-0.16, 0.55, z + 0.06), (0.16, 0.55, z + 0.06)], 0.34, paint)
    else:
        pen.plate([(-0.36, 0.3), (0.3, 0.26), (0.34, 0.62), (-0.34, 0.66)], (84, 86, 90))
        pen.bar([(0.16, 0.36), (-0.16, 0.44)], 0.24, (112, 114, 118))
        pen.tube([(0.12, 0.32, 0.1), (0.14, 0.34, rear - 0.1)], 0.10, (176, 178, 182))
        pen.bar([(0.26, 0.84), (-0.04, 0.82)], 0.30, paint)
        pen.bar([(rear + 0.1, 0.76), (rear - 0.18, 0.86)], 0.16, paint)
        if cycle.basket:
            pen.plate([(z + 0.26, 0.62), (z + 0.22, 1.1), (z, 1.0), (0.16, 0.66)], paint)
    pen.bar([(seat[0] - 0.28, seat[1]), (seat[0] + 0.26, seat[1] - 0.02)], 0.16, dark)
    pen.wheel(near, r, tyre, (48, 48, 52), full=True)
    guard = [(front - 0.2, 2 * r + 0.06), (front, 2 * r + 0.07), (front + r * 0.8, 1.7 * r)]
    pen.bar(guard, 0.12, tone(paint, 0.9))
    pen.tube([(-0.34, y, z - 0.08), (-0.1, y + 0.02, z), (0.1, y + 0.02, z), (0.34, y, z - 0.08)], 0.05, dark)
    for x in (-0.34, 0.34):
        pen.tube([(x, y, z - 0.02), (x * 0.94, y + 0.18, z)], 0.05, dark)
    spot = pen.place([(0.0, y - 0.14, z + 0.12) if towards else (0.0, 0.70, rear - 0.15)])[0]
    size = pen.camera.size(0.1 if towards else 0.055, pen.depth)
    colour: Colour = (246, 244, 226) if towards else (206, 30, 26)
    pen.marks.append(Mark(circle(12) * size * 1.25 + spot, pen.tint(dark)))
    pen.marks.append(Mark(circle(12) * size + spot, pen.light.fade(colour, pen.depth * 0.5)))
    if not towards:
        pen.board((0.1, 0.46), (0.1, 0.6), rear - 0.2, (220, 220, 210))
