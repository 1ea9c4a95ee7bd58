"""Trees, bushes and hedges: clouds of leaves lit from above and from the sun's side."""

from __future__ import annotations

import math

import numpy as np

from .camera import NEAR, Camera
from .light import Light
from .looks import vary
from .marks import Colour, Mark

_LEAF: tuple[Colour, ...] = ((66, 98, 42), (84, 112, 46), (52, 84, 46), (96, 118, 58), (74, 104, 62))
_AUTUMN: tuple[Colour, ...] = ((176, 112, 38), (158, 74, 34), (190, 148, 54), (120, 104, 44))
_BARK: Colour = (92, 76, 62)
_TONES = 7


def _leaves(rng: np.random.Generator, centre: np.ndarray, reach: np.ndarray, size: float, count: int, colour: Colour, camera: Camera,
            light: Light) -> list[Mark]:  # fmt: skip
    """Discs in an ellipsoid, grouped by tone from the dark inside to the lit rim. All lengths in metres."""
    depth = max(NEAR, float(centre[2]))
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = rng.random(count) ** 0.45
    where = centre + direction * radius[:, None] * reach
    sun = np.array(light.sun)
    strength = max(light.direct) / max(0.2, max(light.ambient))
    shade = 0.52 + 0.30 * direction[:, 1] * radius + 0.16 * min(1.6, strength) * (direction @ sun) * radius
    shade += rng.normal(0, 0.075, count)
    rank = np.clip((shade * _TONES).astype(int), 0, _TONES - 1)
    flat = camera.project(where)
    glow = light.glow(float(centre[0]), depth) * 0.55
    unit = camera.size(1.0, depth)
    core = centre + direction[: count // 4] * reach * 0.5
    dark = light.shade(tuple(c * 0.42 for c in colour), 0.2, depth, glow)  # type: ignore[arg-type]
    marks = [Mark(camera.project(core), dark, kind="disc", width=size * 1.5 * unit)]
    for level in range(_TONES):
        chosen = flat[rank == level]
        if not len(chosen):
            continue
        gain = 0.46 + 0.72 * level / (_TONES - 1)
        warm = level / _TONES * 14
        base = (colour[0] * gain + warm, colour[1] * gain + warm * 0.7, colour[2] * gain)
        facing = 0.15 + 0.75 * level / (_TONES - 1)
        width = size * (1.0 - 0.42 * level / _TONES) * unit
        marks.append(Mark(chosen, light.shade(base, facing, depth, glow, up=level / _TONES - 0.4), kind="disc", width=width))
    return marks


def tree(rng: np.random.Generator, x: float, z: float, camera: Camera, light: Light, *, autumn: bool, height: float) -> list[Mark]:
    """A street tree: trunk, boughs and crown."""
    table = _AUTUMN if autumn and rng.random() < 0.6 else _LEAF
    colour = vary(rng, table[int(rng.integers(len(table)))], 12)
    kind = ("round", "wide", "tall", "cone")[int(rng.choice(4, p=[0.42, 0.28, 0.2, 0.1]))]
    girth = height * {"round": 0.30, "wide": 0.38, "tall": 0.2, "cone": 0.2}[kind] * rng.uniform(0.9, 1.1)
    stem = height * {"round": 0.34, "wide": 0.38, "tall": 0.24, "cone": 0.12}[kind]
    depth = max(z, NEAR)
    lean = rng.normal(0, 0.15)
    glow = light.glow(x, z) * 0.7
    bark = light.shade(vary(rng, _BARK, 8), 0.45, depth, glow)
    width = height * 0.021
    trunk = np.array([[x - width * 1.5, 0, z], [x - width * 0.8, stem * 0.25, z], [x - width * 0.7 + lean, stem * 1.35, z], [x + width * 0.7 + lean, stem * 1.35, z],
                      [x + width * 0.8, stem * 0.25, z], [x + width * 1.5, 0, z]])  # fmt: skip
    marks = [Mark(camera.project(trunk), bark)]
    lit_side = math.copysign(0.35, light.sun[0]) * width
    marks.append(Mark(camera.project(trunk * [0.0, 1, 1] + np.array([[x + lit_side - width * 0.3, 0, 0], [x + lit_side - width * 0.3, 0, 0], [x + lean + lit_side - width * 0.2, 0, 0],
                      [x + lean + lit_side + width * 0.2, 0, 0], [x + lit_side + width * 0.3, 0, 0], [x + lit_side + width * 0.3, 0, 0]])),
                      light.shade(vary(rng, (122, 104, 86), 6), 0.6, depth, glow), mask=False))  # fmt: skip
    for bough in range(3):
        side = (bough - 1) * girth * 0.55
        ends = np.array([[x + lean * 0.8, stem * 1.1, z], [x + side, stem * 1.9, z]])
        marks.append(Mark(camera.project(ends), bark, kind="line", width=camera.size(width * 1.1, depth)))
    middle = np.array([x + lean, (stem + height) / 2, z])
    reach = np.array([girth, (height - stem) / 2, girth])
    big = camera.size(height, depth)
    count = int(np.clip(170 * big, 40, 260))
    leaf = girth * 0.26
    if kind == "cone":
        for step in range(5):
            share = step / 5
            layer = np.array([x, stem + (height - stem) * (0.1 + 0.8 * share), z])
            span = np.array([girth * (1.1 - share), height * 0.11, girth * (1.1 - share)])
            marks += _leaves(rng, layer, span, leaf * (1 - 0.5 * share), count // 4, colour, camera, light)
        return marks
    lobes = 2 if kind == "tall" else 3
    for lobe in range(lobes):
        offset = np.array([(lobe - (lobes - 1) / 2) * girth * 0.55 * (0.3 if kind == "tall" else 1), rng.normal(0, 0.12) * girth + (0.25 * girth if lobe == 1 else 0), 0])
        marks += _leaves(rng, middle + offset, reach * [0.78, 0.86, 0.78], leaf, count // lobes, colour, camera, light)
    return marks


def bush(rng: np.random.Generator, x: float, z: float, size: float, camera: Camera, light: Light, *, autumn: bool = False) -> list[Mark]:
    colour = vary(rng, (_AUTUMN if autumn and rng.random() < 0.4 else _LEAF)[int(rng.integers(4))], 12)
    count = int(np.clip(260 * camera.size(size, max(z, NEAR)), 18, 90))
    return _leaves(rng, np.array([x, size * 0.45, z]), np.array([size * 0.8, size * 0.5, size * 0.6]), size * 0.22, count, colour, camera, light)
