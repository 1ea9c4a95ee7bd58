"""Trees, bushes and hedges: clouds of leaves lit from above and from the sun's side."""

from __future__ import annotations

import math

import numpy as np

from effdet.streets.canvas import NEAR, Camera, Colour, Mark, circle, palette
from effdet.streets.light import Light
from effdet.streets.looks import pick, tone, vary

_LEAF = palette("42622a 54702e 34542e 627638 4a683e")
_AUTUMN = palette("b27228 9e4c24 c09638 7a6a2e")
_BARK: Colour = (94, 78, 64)
_TONES = 8


def _leaves(
    rng: np.random.Generator,
    lobes: np.ndarray,
    reach: np.ndarray,
    count: int,
    colour: Colour,
    camera: Camera,
    light: Light,
) -> list[Mark]:
    """Tufts of leaves on a few ellipsoids, from the dark inside to the lit rim.

    Args:
        lobes: (k, 3) centres in metres; reach: (k, 3) half axes in metres; count: tufts in all.
    """
    depth = max(NEAR, float(lobes[0, 2]))
    unit = camera.size(1.0, depth)
    glow = light.glow(float(lobes[0, 0]), depth) * 0.55
    which = rng.integers(len(lobes), size=count)
    direction = rng.normal(size=(count, 3))
    direction /= np.sqrt((direction**2).sum(1, keepdims=True))
    radius = rng.random(count) ** 0.42
    offset = direction * radius[:, None] * reach[which]
    where = lobes[which] + offset
    # How much light a tuft gets: by its place in its lobe, and by its lobe's place in the crown.
    middle, whole = lobes.mean(0), np.ptp(lobes, axis=0) / 2 + reach.max(0)
    crown = (where - middle) / whole
    sun = np.array(light.sun)
    hard = min(1.6, max(light.direct) / max(0.2, max(light.ambient)))
    shade = (
        0.46
        + 0.20 * direction[:, 1] * radius
        + 0.16 * crown[:, 1]
        + 0.13 * hard * (crown @ sun)
        + 0.05 * hard * (direction @ sun)
    )
    rank = np.clip(((shade + rng.normal(0, 0.10, count)) * _TONES).astype(int), 0, _TONES - 1)
    flat = camera.project(where)
    # The tufts together cover the lobes about four times over.
    size = math.sqrt(4.0 * float((reach[:, 0] * reach[:, 1]).sum()) / count)
    ring = circle(16)
    dark = light.shade((colour[0] * 0.40, colour[1] * 0.42, colour[2] * 0.42), 0.1, depth, glow)
    ellipses = zip(camera.project(lobes), reach[:, :2], strict=True)
    marks = [Mark(at + ring * half * (0.9 * unit), dark) for at, half in ellipses]
    rim = radius > 0.72  # the others lie within the dark ellipses, and need not be drawn into the mask again
    for level in range(_TONES):
        share = level / (_TONES - 1)
        gain = 0.48 + 0.74 * share
        base = (colour[0] * gain + 16 * share, colour[1] * gain + 12 * share, colour[2] * gain)
        tint = light.shade(base, 0.1 + 0.8 * share, depth, glow, up=share - 0.4)
        at_level = rank == level
        for edge in (True, False):
            chosen = flat[at_level & (rim == edge)]
            if len(chosen):
                marks.append(Mark(chosen, tint, mask=edge, kind="disc", width=size * (1.05 - 0.45 * share) * unit))
    if count > 200:  # single leaves that catch or miss the light, on what is near
        few = flat[: count // 2] + rng.normal(0, size * 0.5 * unit, (count // 2, 2))
        for gain, part in ((0.62, few[::3]), (1.22, few[1::3]), (0.9, few[2::3])):
            tint = light.shade((colour[0] * gain, colour[1] * gain, colour[2] * gain), 0.35, depth, glow)
            marks.append(Mark(part, tint, mask=False, kind="disc", width=size * 0.30 * unit))
    return marks


def tree(
    rng: np.random.Generator, x: float, z: float, camera: Camera, light: Light, *, autumn: bool, height: float
) -> list[Mark]:
    """A street tree: backbone, boughs and crown."""
    colour = pick(rng, _AUTUMN if autumn and rng.random() < 0.6 else _LEAF, 12)
    kind = ("round", "wide", "tall", "cone")[int(rng.choice(4, p=[0.42, 0.28, 0.2, 0.1]))]
    girth = height * {"round": 0.29, "wide": 0.37, "tall": 0.19, "cone": 0.2}[kind] * rng.uniform(0.9, 1.1)
    stem = height * {"round": 0.34, "wide": 0.38, "tall": 0.24, "cone": 0.12}[kind]
    depth = max(z, NEAR)
    marks = _stem(rng, x, z, stem, height * 0.021, girth, camera, light)
    # Tufts grow with the tree's size in the image: about 0.012 image heights each.
    tall = camera.size(height, depth)
    count = int(np.clip(2400 * tall * tall, 60, 640))
    if kind == "cone":
        share = np.linspace(0, 1, 6)
        lobes = np.stack([np.full(6, x), stem + (height - stem) * (0.08 + 0.84 * share), np.full(6, z)], 1)
        reach = np.stack([girth * (1.08 - share), np.full(6, height * 0.12), girth * (1.08 - share)], 1)
        return marks + _leaves(rng, lobes, reach, count, colour, camera, light)
    number = {"tall": 4, "round": 6, "wide": 7}[kind]
    middle = np.array([x, (stem + height) / 2, z])
    half = (height - stem) / 2
    spread = rng.normal(size=(number, 3))
    spread /= np.sqrt((spread**2).sum(1, keepdims=True))
    lobes = middle + spread * [girth * 0.55, half * 0.55, girth * 0.3]
    wide, high = girth * rng.uniform(0.42, 0.62, number), half * rng.uniform(0.38, 0.56, number)
    reach = np.stack([wide, high, np.full(number, girth * 0.5)], 1)
    return marks + _leaves(rng, lobes, reach, count, colour, camera, light)


def _stem(
    rng: np.random.Generator, x: float, z: float, stem: float, width: float, girth: float, camera: Camera, light: Light
) -> list[Mark]:
    depth = max(z, NEAR)
    glow = light.glow(x, z) * 0.7
    colour = vary(rng, _BARK, 8)
    bark = light.shade(colour, 0.35, depth, glow)
    lean = rng.normal(0, 0.12)
    shape = np.array([[-1.6, 0], [-0.9, 0.22], [-0.75, 1.5], [0.75, 1.5], [0.9, 0.22], [1.6, 0]])
    points = np.stack([x + shape[:, 0] * width + lean * shape[:, 1] / 1.5, shape[:, 1] * stem, np.full(6, z)], 1)
    marks = [Mark(camera.project(points), bark)]
    for bough in range(3):
        side = (bough - 1) * girth * 0.6
        ends = np.array([[x + lean * 0.8, stem * 1.05, z], [x + side, stem * 2.0, z]])
        marks.append(Mark(camera.project(ends), bark, kind="line", width=camera.size(width * 1.1, depth)))
    if camera.size(width, depth) > 0.004:
        shift = math.copysign(0.4, light.sun[0])
        points[:, 0] = x + shape[:, 0] * width * 0.35 + shift * width + lean * shape[:, 1] / 1.5
        marks.append(Mark(camera.project(points), light.shade(tone(colour, 1.3), 0.7, depth, glow), mask=False))  # type: ignore[arg-type]
    return marks


def bush(
    rng: np.random.Generator, x: float, z: float, size: float, camera: Camera, light: Light, *, autumn: bool = False
) -> list[Mark]:
    """A bush about `size` metres high."""
    colour = vary(rng, (_AUTUMN if autumn and rng.random() < 0.4 else _LEAF)[int(rng.integers(4))], 12)
    tall = camera.size(size, max(z, NEAR))
    count = int(np.clip(2600 * tall * tall * 1.6, 24, 300))
    lobes = np.array([[x, size * 0.42, z]]) + rng.normal(0, 0.22, (3, 3)) * [size, size * 0.3, 0]
    reach = np.array([[0.62, 0.45, 0.5]]) * size * rng.uniform(0.8, 1.1, (3, 1))
    return _leaves(rng, lobes, reach, count, colour, camera, light)
