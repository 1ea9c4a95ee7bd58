"""Street furniture: lamps, traffic lights, signs, bins, fences, walls, stops. Each gives pieces: a label id and its marks."""

from __future__ import annotations

import math

import numpy as np

from effdet.streets import labels
from effdet.streets.camera import NEAR, Camera
from effdet.streets.light import Light
from effdet.streets.looks import tone, vary
from effdet.streets.marks import Colour, Mark, circle
from effdet.streets.panels import Detail, Pose, Solid, draw, quad, rect

Piece = tuple[int, list[Mark]]
STEEL: Colour = (112, 116, 122)


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
        marks.append(
            Mark(
                flat + shift,
                light.shade(tone(colour, 1.35), 0.6, depth, glow),
                mask=False,
                kind="line",
                width=size * 0.3,
            )
        )
    return marks


def street_lamp(x: float, z: float, reach: float, height: float, camera: Camera, light: Light) -> list[Piece]:
    """A lamp post whose arm reaches `reach` metres to the right (negative: to the left)."""
    glow = light.glow(x, z) * 0.4
    points = [(x, 0.0, z), (x, height - 0.5, z), (x + reach * 0.3, height, z), (x + reach, height + 0.1, z)]
    marks = tube(points, 0.13, (88, 92, 96), camera, light, glow)
    head = np.array(
        [
            [x + reach - 0.3, height - 0.02, z],
            [x + reach + 0.3, height + 0.02, z],
            [x + reach + 0.2, height + 0.2, z],
            [x + reach - 0.25, height + 0.18, z],
        ]
    )
    marks.append(Mark(camera.project(head), light.shade((70, 72, 76), 0.4, z, 0.0)))
    if light.lit > 0.3:
        bulb = np.array(
            [
                [x + reach - 0.26, height - 0.06, z],
                [x + reach + 0.26, height - 0.04, z],
                [x + reach + 0.26, height + 0.05, z],
                [x + reach - 0.26, height + 0.03, z],
            ]
        )
        marks.append(Mark(camera.project(bulb), light.fade((255, 226, 160), z * 0.5)))
    return [(labels.POLE, marks)]


LIGHTS: dict[str, tuple[int, Colour]] = {
    "red": (0, (255, 52, 40)),
    "amber": (1, (255, 178, 40)),
    "green": (2, (62, 236, 138)),
}


def traffic_light(
    x: float, z: float, reach: float, state: str, camera: Camera, light: Light
) -> tuple[list[Piece], list[tuple[np.ndarray, float, Colour, float]]]:
    """A signal on its post, and one on the arm when `reach` is not 0. Returns pieces and the lamp for the glow."""
    glow = light.glow(x, z) * 0.5
    pole = tube([(x, 0.0, z), (x, 3.3, z)], 0.14, (72, 76, 80), camera, light, glow)
    heads = [(x, 2.4, z)]
    if reach:
        pole += tube([(x, 0.0, z), (x, 5.6, z), (x + reach, 5.75, z)], 0.15, (72, 76, 80), camera, light, glow)
        heads.append((x + reach * 0.92, 4.9, z))
    boxes: list[Mark] = []
    shining: list[tuple[np.ndarray, float, Colour, float]] = []
    lamp_index, lamp_colour = LIGHTS[state]
    for hx, hy, hz in heads:
        shape = np.array(
            [[hx - 0.17, hy, hz], [hx + 0.17, hy, hz], [hx + 0.17, hy + 0.95, hz], [hx - 0.17, hy + 0.95, hz]]
        )
        boxes.append(Mark(camera.project(shape), light.shade((30, 32, 34), 0.3, hz, glow)))
        rim = (shape - shape.mean(0)) * [0.82, 0.92, 1] + shape.mean(0)
        boxes.append(Mark(camera.project(rim), light.shade((44, 46, 48), 0.3, hz, glow), mask=False))
        for index in range(3):
            spot = camera.project(np.array([hx, hy + 0.79 - 0.31 * index, hz]))
            on = index == lamp_index
            colour = light.fade(lamp_colour, hz * 0.4) if on else light.shade((52, 50, 46), 0.3, hz, glow)
            boxes.append(Mark(circle(12) * camera.size(0.115, hz) + spot, colour, mask=False))
            if on:
                shining.append((spot, camera.size(0.13, hz), lamp_colour, hz))
    return [(labels.POLE, pole), (labels.TRAFFIC_LIGHT, boxes)], shining


_SIGNS = ("stop", "limit", "yield", "warning", "blue", "parking", "no_entry", "direction", "priority")


def sign(rng: np.random.Generator, x: float, z: float, camera: Camera, light: Light) -> list[Piece]:
    """A traffic sign on its post, its face towards us."""
    kind = str(rng.choice(_SIGNS))
    glow = light.glow(x, z) + 0.25 * light.lit  # signs throw light back
    height = rng.uniform(2.1, 2.7)
    post = tube([(x, 0.0, z), (x, height + 0.55, z)], 0.07, (142, 146, 150), camera, light, glow * 0.6)
    size = camera.size(0.36, z)
    centre = camera.project(np.array([x, height + 0.3, z]))
    lit = lambda colour: light.shade(colour, 0.45, z, glow)
    red, white, blue, black, yellow = (198, 30, 34), (240, 240, 236), (24, 82, 166), (24, 24, 26), (244, 190, 40)
    face: list[Mark] = []
    ring = circle(24)

    def disc(scale: float, colour: Colour, mask: bool = False) -> None:
        face.append(Mark(ring * size * scale + centre, lit(colour), mask=mask))

    def poly(points: list[tuple[float, float]], colour: Colour, mask: bool = False) -> None:
        face.append(Mark(np.array(points) * size + centre, lit(colour), mask=mask))

    if kind == "stop":
        face.append(Mark(circle(8) @ np.array([[0.924, 0.383], [-0.383, 0.924]]) * size * 1.12 + centre, lit(white)))
        face.append(Mark(circle(8) @ np.array([[0.924, 0.383], [-0.383, 0.924]]) * size + centre, lit(red), mask=False))
        poly([(-0.62, -0.16), (0.62, -0.16), (0.62, 0.18), (-0.62, 0.18)], white)
    elif kind == "limit":
        disc(1.05, red, True)
        disc(0.76, white)
        poly([(-0.4, -0.32), (-0.08, -0.32), (-0.08, 0.34), (-0.4, 0.34)], black)
        poly([(0.08, -0.32), (0.42, -0.32), (0.42, 0.34), (0.08, 0.34)], black)
    elif kind == "yield":
        poly([(-1.15, -0.85), (1.15, -0.85), (0, 1.15)], red, True)
        poly([(-0.72, -0.6), (0.72, -0.6), (0, 0.66)], white)
    elif kind == "warning":
        poly([(-1.15, 0.85), (1.15, 0.85), (0, -1.15)], red, True)
        poly([(-0.76, 0.62), (0.76, 0.62), (0, -0.72)], white)
        poly([(-0.1, -0.3), (0.1, -0.3), (0.06, 0.3), (-0.06, 0.3)], black)
    elif kind == "blue":
        disc(1.05, blue, True)
        poly([(-0.14, 0.7), (-0.14, -0.1), (-0.5, -0.1), (0, -0.72), (0.5, -0.1), (0.14, -0.1), (0.14, 0.7)], white)
    elif kind == "parking":
        poly([(-0.95, -0.95), (0.95, -0.95), (0.95, 0.95), (-0.95, 0.95)], blue, True)
        poly([(-0.4, -0.65), (0.3, -0.65), (0.46, -0.3), (0.3, 0.1), (-0.14, 0.1), (-0.14, 0.66), (-0.4, 0.66)], white)
    elif kind == "no_entry":
        disc(1.05, red, True)
        poly([(-0.72, -0.2), (0.72, -0.2), (0.72, 0.2), (-0.72, 0.2)], white)
    elif kind == "priority":
        poly([(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)], white, True)
        poly([(0, -0.85), (0.85, 0), (0, 0.85), (-0.85, 0)], yellow)
    else:
        base = blue if rng.random() < 0.5 else yellow
        poly([(-2.2, -0.6), (1.7, -0.6), (2.3, 0), (1.7, 0.6), (-2.2, 0.6)], base, True)
        poly([(-1.8, -0.22), (0.8, -0.22), (0.8, 0.16), (-1.8, 0.16)], white if base == blue else black)
    return [(labels.POLE, post), (labels.TRAFFIC_SIGN, face)]


def bin_(rng: np.random.Generator, x: float, z: float, camera: Camera, light: Light) -> list[Piece]:
    colour = vary(rng, ((60, 84, 60), (70, 72, 76), (196, 120, 40))[int(rng.integers(3))], 8)
    panels = [
        quad(
            [(-0.25, 0, -0.2), (0.25, 0, -0.2), (0.28, 0.95, -0.2), (-0.28, 0.95, -0.2)],
            colour,
            (0, 0.4, 0.3),
            [
                Detail(rect(0.02, 0.72, 0.48, 0.84), tone(colour, 0.5)),
                Detail(rect(0.06, 0.1, 0.14, 0.9), tone(colour, 1.25)),
            ],
        )
    ]
    return [(labels.STATIC, draw(Solid(tuple(panels)), Pose(x, z), camera, light))]


def fence(
    start: tuple[float, float], stop: tuple[float, float], height: float, colour: Colour, camera: Camera, light: Light
) -> list[Piece]:
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
    return [(labels.FENCE, marks)]


def wall(
    rng: np.random.Generator,
    start: tuple[float, float],
    stop: tuple[float, float],
    height: float,
    camera: Camera,
    light: Light,
) -> list[Piece]:
    """A garden wall with a coping and courses of stone."""
    colour = vary(rng, ((158, 148, 134), (146, 96, 78), (182, 176, 164))[int(rng.integers(3))], 10)
    side = math.copysign(10.0, start[0] + stop[0])
    corners = [
        (start[0], 0.0, start[1]),
        (stop[0], 0.0, stop[1]),
        (stop[0], height, stop[1]),
        (start[0], height, start[1]),
    ]
    length = math.hypot(stop[0] - start[0], stop[1] - start[1])
    courses = [Detail(rect(0, y, length, y + 0.03), tone(colour, 0.82)) for y in np.arange(0.3, height - 0.1, 0.3)]
    courses.append(Detail(rect(0, height - 0.12, length, height), tone(colour, 1.15)))
    middle = (start[0] + side, height / 2, (start[1] + stop[1]) / 2)
    return [(labels.WALL, draw(Solid((quad(corners, colour, middle, courses),)), Pose(0, 0), camera, light))]


def wires(x: float, slope: float, bend: float, camera: Camera, light: Light) -> list[Piece]:
    """The contact wire above a tram's track, its carriers and cross spans. Too thin to count in the label map."""
    z = np.geomspace(2.0, 42.0, 16)
    at = x + slope * z + bend * z * z * 0.5
    marks = []
    for height, width in ((5.6, 0.012), (6.3, 0.012)):
        points = np.stack([at, np.full_like(z, height), z], 1)
        marks.append(
            Mark(
                camera.project(points),
                light.shade((40, 42, 46), 0.2, 12.0),
                mask=False,
                kind="line",
                width=camera.size(width, 9.0),
            )
        )
    for depth in (8.0, 20.0, 34.0):
        middle = x + slope * depth + bend * depth * depth * 0.5
        span = np.array([[middle - 7.0, 7.0, depth], [middle, 6.3, depth], [middle + 7.0, 7.0, depth]])
        marks.append(
            Mark(
                camera.project(span),
                light.shade((40, 42, 46), 0.2, depth),
                mask=False,
                kind="line",
                width=camera.size(0.012, depth),
            )
        )
    return [(labels.SKY, marks)]
