"""Street furniture: lamps, traffic lights, signs, bins, fences, walls, stops. Each gives pieces: a label id and its marks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from effdet.streets.canvas import NEAR, Camera, Colour, Glow, Mark, circle, palette
from effdet.streets.labels import Label
from effdet.streets.light import Light
from effdet.streets.looks import pick, tone
from effdet.streets.panels import Detail, Place, Pose, Solid, draw, quad, rect

Piece = tuple[int, list[Mark]]
_BINS = palette("3c543c 46484c c47828")
_STONE = palette("9e9486 92604e b6b0a4")


def tube(
    points: list[tuple[float, float, float]], width: float, colour: Colour, camera: Camera, light: Light, glow: float
) -> list[Mark]:
    """A round bar, with a lit side."""
    depth = max(NEAR, min(p[2] for p in points))
    size = camera.size(width, depth)
    flat = camera.project(np.array(points, float))
    marks = [Mark(flat, light.shade(colour, 0.4, depth, glow), kind="line", width=size)]
    if size > 0.006:
        shift = np.array([math.copysign(size * 0.22, light.sun[0]), 0.0])
        bright = light.shade(tone(colour, 1.35), 0.6, depth, glow)
        marks.append(Mark(flat + shift, bright, mask=False, kind="line", width=size * 0.3))
    return marks


def _upright(points: Sequence[tuple[float, float]], z: float, camera: Camera) -> np.ndarray:
    """(n, 2) image points of (x, y) in the plane of constant z."""
    return camera.project(np.array([(x, y, z) for x, y in points]))


def street_lamp(x: float, z: float, reach: float, height: float, camera: Camera, light: Light) -> list[Piece]:
    """A lamp post whose arm reaches `reach` metres to the right (negative: to the left)."""
    glow = light.glow(x, z) * 0.4
    points = [(x, 0.0, z), (x, height - 0.5, z), (x + reach * 0.3, height, z), (x + reach, height + 0.1, z)]
    marks = tube(points, 0.13, (88, 92, 96), camera, light, glow)
    x, y = x + reach, height
    head = [(x - 0.3, y - 0.02), (x + 0.3, y + 0.02), (x + 0.2, y + 0.2), (x - 0.25, y + 0.18)]
    marks.append(Mark(_upright(head, z, camera), light.shade((70, 72, 76), 0.4, z, 0.0)))
    if light.lit > 0.3:
        bulb = [(x - 0.26, y - 0.06), (x + 0.26, y - 0.04), (x + 0.26, y + 0.05), (x - 0.26, y + 0.03)]
        marks.append(Mark(_upright(bulb, z, camera), light.fade((255, 226, 160), z * 0.5)))
    return [(Label.POLE, marks)]


LIGHTS: dict[str, Colour] = {"red": (255, 52, 40), "amber": (255, 178, 40), "green": (62, 236, 138)}
"""From top to bottom."""


def traffic_light(
    x: float, z: float, reach: float, state: str, camera: Camera, light: Light
) -> tuple[list[Piece], list[Glow]]:
    """A signal on its post, and one on the arm when `reach` is not 0. Returns pieces and the lamp for the glow."""
    glow = light.glow(x, z) * 0.5
    pole = tube([(x, 0.0, z), (x, 3.3, z)], 0.14, (72, 76, 80), camera, light, glow)
    heads = [(x, 2.4, z)]
    if reach:
        pole += tube([(x, 0.0, z), (x, 5.6, z), (x + reach, 5.75, z)], 0.15, (72, 76, 80), camera, light, glow)
        heads.append((x + reach * 0.92, 4.9, z))
    boxes: list[Mark] = []
    shining: list[Glow] = []
    for hx, hy, hz in heads:
        shape = np.insert(rect(hx - 0.17, hy, hx + 0.17, hy + 0.95), 2, hz, axis=1)
        boxes.append(Mark(camera.project(shape), light.shade((30, 32, 34), 0.3, hz, glow)))
        rim = (shape - shape.mean(0)) * [0.82, 0.92, 1] + shape.mean(0)
        boxes.append(Mark(camera.project(rim), light.shade((44, 46, 48), 0.3, hz, glow), mask=False))
        for index, (name, lamp) in enumerate(LIGHTS.items()):
            spot = camera.project(np.array([hx, hy + 0.79 - 0.31 * index, hz]))
            on = name == state
            colour = light.fade(lamp, hz * 0.4) if on else light.shade((52, 50, 46), 0.3, hz, glow)
            boxes.append(Mark(circle(12) * camera.size(0.115, hz) + spot, colour, mask=False))
            if on:
                shining.append((spot, camera.size(0.13, hz), lamp, hz))
    return [(Label.POLE, pole), (Label.TRAFFIC_LIGHT, boxes)], shining


_RED, _WHITE, _BLUE, _BLACK, _YELLOW = palette("c61e22 f0f0ec 1852a6 18181a f4be28")
_RING = circle(24)
_DIAMOND = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
_OCTAGON = circle(8) @ np.array([[0.924, 0.383], [-0.383, 0.924]])


def _triangle(half: float, base: float, tip: float) -> np.ndarray:
    return np.array([(-half, base), (half, base), (0, tip)])


_SIGNS: dict[str, list[tuple[np.ndarray, Colour]]] = {
    "stop": [(_OCTAGON * 1.12, _WHITE), (_OCTAGON, _RED), (rect(-0.62, -0.16, 0.62, 0.18), _WHITE)],
    "limit": [
        (_RING * 1.05, _RED),
        (_RING * 0.76, _WHITE),
        (rect(-0.4, -0.32, -0.08, 0.34), _BLACK),
        (rect(0.08, -0.32, 0.42, 0.34), _BLACK),
    ],
    "yield": [(_triangle(1.15, -0.85, 1.15), _RED), (_triangle(0.72, -0.6, 0.66), _WHITE)],
    "warning": [
        (_triangle(1.15, 0.85, -1.15), _RED),
        (_triangle(0.76, 0.62, -0.72), _WHITE),
        (np.array([(-0.1, -0.3), (0.1, -0.3), (0.06, 0.3), (-0.06, 0.3)]), _BLACK),
    ],
    "blue": [
        (_RING * 1.05, _BLUE),
        (np.array([(-14, 70), (-14, -10), (-50, -10), (0, -72), (50, -10), (14, -10), (14, 70)]) / 100, _WHITE),
    ],
    "parking": [
        (rect(-0.95, -0.95, 0.95, 0.95), _BLUE),
        (np.array([(-40, -65), (30, -65), (46, -30), (30, 10), (-14, 10), (-14, 66), (-40, 66)]) / 100, _WHITE),
    ],
    "no_entry": [(_RING * 1.05, _RED), (rect(-0.72, -0.2, 0.72, 0.2), _WHITE)],
    "direction": [],
    "priority": [(_DIAMOND * 1.2, _WHITE), (_DIAMOND * 0.85, _YELLOW)],
}
"""Shapes of each sign in units of its radius, y down; the first is its mask. A direction sign is blue or yellow by chance."""


def sign(rng: np.random.Generator, x: float, z: float, camera: Camera, light: Light) -> list[Piece]:
    """A traffic sign on its post, its face towards us."""
    kind = str(rng.choice(tuple(_SIGNS)))
    glow = light.glow(x, z) + 0.25 * light.lit  # signs throw light back
    height = rng.uniform(2.1, 2.7)
    post = tube([(x, 0.0, z), (x, height + 0.55, z)], 0.07, (142, 146, 150), camera, light, glow * 0.6)
    size = camera.size(0.36, z)
    centre = camera.project(np.array([x, height + 0.3, z]))
    shapes = _SIGNS[kind]
    if kind == "direction":
        board, text = (_BLUE, _WHITE) if rng.random() < 0.5 else (_YELLOW, _BLACK)
        outline = np.array([(-2.2, -0.6), (1.7, -0.6), (2.3, 0), (1.7, 0.6), (-2.2, 0.6)])
        shapes = [(outline, board), (rect(-1.8, -0.22, 0.8, 0.16), text)]
    face = [
        Mark(points * size + centre, light.shade(colour, 0.45, z, glow), mask=number == 0)
        for number, (points, colour) in enumerate(shapes)
    ]
    return [(Label.POLE, post), (Label.TRAFFIC_SIGN, face)]


def bin_(rng: np.random.Generator, x: float, z: float, camera: Camera, light: Light) -> list[Piece]:
    colour = pick(rng, _BINS, 8)
    corners = [(-0.25, 0, -0.2), (0.25, 0, -0.2), (0.28, 0.95, -0.2), (-0.28, 0.95, -0.2)]
    details = [
        Detail(rect(0.02, 0.72, 0.48, 0.84), tone(colour, 0.5)),
        Detail(rect(0.06, 0.1, 0.14, 0.9), tone(colour, 1.25)),
    ]
    solid = Solid((quad(corners, colour, (0, 0.4, 0.3), details),))
    return [(Label.STATIC, draw(solid, Pose(x, z), camera, light))]


def fence(start: Place, stop: Place, height: float, colour: Colour, camera: Camera, light: Light) -> list[Piece]:
    """Posts and rails between two points on the ground. Its mask is the whole panel, as in Cityscapes."""
    a, b = np.array([start[0], 0.0, start[1]]), np.array([stop[0], 0.0, stop[1]])
    length = float(np.linalg.norm(b - a))
    count = max(2, min(40, round(length / 0.45)))
    t = np.linspace(0, 1, count)[:, None]
    low = a + (b - a) * t
    high = low + [0.0, height, 0.0]
    depth = float((a[2] + b[2]) / 2)
    glow = light.glow(float(a[0]), depth) * 0.5
    lit = light.shade(colour, 0.4, depth, glow)
    panel = np.array([a, b, b + [0, height, 0], a + [0, height, 0]])
    marks = [Mark(camera.project(panel), None)]
    bars = np.stack([camera.project(low), camera.project(high)], 1)
    marks.append(Mark(bars, lit, mask=False, kind="line", width=camera.size(0.04, depth)))
    for share in (0.25, 0.95):
        rail = np.array([a + [0, height * share, 0], b + [0, height * share, 0]])
        marks.append(Mark(camera.project(rail), lit, mask=False, kind="line", width=camera.size(0.06, depth)))
    return [(Label.FENCE, marks)]


def wall(
    rng: np.random.Generator, start: Place, stop: Place, height: float, camera: Camera, light: Light
) -> list[Piece]:
    """A garden wall with a coping and courses of stone."""
    colour = pick(rng, _STONE, 10)
    side = math.copysign(10.0, start[0] + stop[0])
    corners = [(x, y, z) for (x, z), y in ((start, 0.0), (stop, 0.0), (stop, height), (start, height))]
    length = math.hypot(stop[0] - start[0], stop[1] - start[1])
    courses = [Detail(rect(0, y, length, y + 0.03), tone(colour, 0.82)) for y in np.arange(0.3, height - 0.1, 0.3)]
    courses.append(Detail(rect(0, height - 0.12, length, height), tone(colour, 1.15)))
    middle = (start[0] + side, height / 2, (start[1] + stop[1]) / 2)
    return [(Label.WALL, draw(Solid((quad(corners, colour, middle, courses),)), Pose(0, 0), camera, light))]


def wires(x: float, slope: float, bend: float, camera: Camera, light: Light) -> list[Piece]:
    """The contact wire above a tram's track, its carriers and cross spans. Too thin to count in the label map."""
    z = np.geomspace(2.0, 42.0, 16)
    at = x + slope * z + bend * z * z * 0.5
    lines = [(np.stack([at, np.full_like(z, height), z], 1), 12.0, 9.0) for height in (5.6, 6.3)]
    for depth in (8.0, 20.0, 34.0):
        middle = x + slope * depth + bend * depth * depth * 0.5
        span = np.array([[middle - 7.0, 7.0, depth], [middle, 6.3, depth], [middle + 7.0, 7.0, depth]])
        lines.append((span, depth, depth))
    marks = []
    for points, air, depth in lines:
        black, width = light.shade((40, 42, 46), 0.2, air), camera.size(0.012, depth)
        marks.append(Mark(camera.project(points), black, mask=False, kind="line", width=width))
    return [(Label.SKY, marks)]
