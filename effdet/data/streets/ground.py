"""The ground: road, lane marks, sidewalks, grass; painted as pure colour, then textured, lit and dimmed by row."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from . import labels
from .camera import Camera
from .light import Light
from .looks import tone, vary
from .marks import Colour, Mark
from .scene import FAR, Layout, Street
from .sheet import SUPERSAMPLE, Sheet

_STEPS = 26
_KERB = 0.12


def _strip(street: Street, camera: Camera, left: float, right: float, z0: float, z1: float, y: float = 0.0, steps: int = _STEPS) -> np.ndarray:
    """(2n, 2) picture polygon of a band of the street between two offsets and two depths."""
    z0 = max(z0, camera.nearest_ground * 0.6, 0.9)
    z1 = max(z1, z0 + 0.01)
    z = np.geomspace(z0, z1, steps) if z1 - z0 > 3 else np.linspace(z0, z1, max(2, min(steps, 4)))
    bend = street.centre(z)
    heights = np.full_like(z, y)
    a = np.stack([left + bend, heights, z], 1)
    b = np.stack([right + bend, heights, z], 1)[::-1]
    return camera.project(np.concatenate([a, b]))


def ground_marks(rng: np.random.Generator, layout: Layout) -> list[tuple[int, Mark]]:
    """(label id, mark) of the ground, in drawing order; colours are unlit."""
    street, camera = layout.street, layout.camera
    wet = layout.light.wet
    asphalt = vary(rng, ((104, 104, 108), (92, 92, 95), (118, 115, 112), (84, 86, 92))[int(rng.integers(4))], 6)
    asphalt = tone(asphalt, 1 - 0.3 * wet)
    paving = tone(vary(rng, ((168, 162, 154), (150, 150, 150), (176, 158, 142), (142, 136, 132))[int(rng.integers(4))], 6), 1 - 0.2 * wet)
    grass = vary(rng, ((92, 116, 58), (108, 122, 66), (124, 118, 74))[int(rng.integers(3))], 8)
    kerb = tone(paving, 1.14)
    white = tone((232, 230, 222), 0.62 + 0.38 * street.paint)
    out: list[tuple[int, Mark]] = []

    def lay(label: int, left: float, right: float, colour: Colour, z0: float = 0.0, z1: float = FAR * 4, y: float = 0.0) -> None:
        out.append((label, Mark(_strip(street, camera, left, right, z0, z1, y), colour)))

    lay(labels.TERRAIN if street.district == "suburb" else labels.SIDEWALK, -400, 400, grass if street.district == "suburb" else paving)
    for side, edge, walk, verge in ((-1, street.left, street.walk[0], street.verge[0]), (1, street.right, street.walk[1], street.verge[1])):
        inner, outer = (edge, edge + side * walk)
        lay(labels.SIDEWALK, min(inner, outer), max(inner, outer), paving)
        for k in range(1, 3):  # joints between the slabs
            joint = inner + side * walk * k / 3
            lay(labels.SIDEWALK, joint - 0.015, joint + 0.015, tone(paving, 0.86), z1=26)
        for z in np.arange(3.0, 30.0, 1.2):
            lay(labels.SIDEWALK, min(inner, outer), max(inner, outer), tone(paving, 0.88), z, z + 0.02 + 0.0012 * z)
        if verge:
            a, b = outer, outer + side * verge
            lay(labels.TERRAIN, min(a, b), max(a, b), grass)
        k0, k1 = sorted((inner, inner + side * 0.16))
        lay(labels.SIDEWALK, k0, k1, kerb)
    lay(labels.ROAD, street.left, street.right, asphalt)
    for edge, side in ((street.left, 1), (street.right, -1)):
        g0, g1 = sorted((edge, edge + side * 0.35))
        lay(labels.ROAD, g0, g1, tone(asphalt, 0.86))
        lay(labels.ROAD, *sorted((edge, edge + side * 0.05)), tone(asphalt, 0.6))
    for lane in street.lanes:  # tracks worn by wheels
        for shift in (-0.8, 0.8):
            lay(labels.ROAD, lane.offset + shift - 0.28, lane.offset + shift + 0.28, tone(asphalt, 0.955), z1=60)
    for _ in range(int(rng.integers(0, 4))):  # mended places and covers
        x, z = rng.uniform(street.left + 0.5, street.right - 1.5), rng.uniform(3, 24)
        lay(labels.ROAD, x, x + rng.uniform(0.8, 2.4), tone(asphalt, float(rng.choice([0.84, 0.9, 1.08]))), z, z + rng.uniform(0.8, 5))
    if street.crossing is not None:
        z0, z1 = street.crossing - street.crossing_half, street.crossing + street.crossing_half
        lay(labels.SIDEWALK, -400, 400, paving, z0 - 2.6, z1 + 2.6)
        lay(labels.SIDEWALK, -400, 400, kerb, z0 - 0.16, z1 + 0.16)
        lay(labels.ROAD, -400, 400, asphalt, z0, z1)
        lay(labels.ROAD, street.left, street.right, asphalt, z0 - 3.0, z1 + 3.0)
        for z in (street.crossing - 0.06,):
            for x in np.arange(-40, 40, 6.0):
                if not street.left - 1 < x < street.right + 1:
                    lay(labels.ROAD, x, x + 3, white, z, z + 0.14)
    _lane_marks(lay, street, white)
    if street.tram is not None:
        x = street.lanes[street.tram].offset
        for shift in (-0.72, 0.72):
            lay(labels.ROAD, x + shift - 0.07, x + shift + 0.07, tone(asphalt, 0.7), z1=80)
            lay(labels.ROAD, x + shift - 0.03, x + shift + 0.03, (172, 174, 178), z1=80)
    for _ in range(int(rng.integers(0, 3))):
        x, z = rng.uniform(street.left + 1, street.right - 1), rng.uniform(4, 16)
        ring = np.stack([np.cos(np.linspace(0, 6.28, 16)) * 0.34 + x + float(street.centre(z)), np.zeros(16), np.sin(np.linspace(0, 6.28, 16)) * 0.34 + z], 1)
        out.append((labels.ROAD, Mark(camera.project(ring), tone(asphalt, 0.62))))
        out.append((labels.ROAD, Mark(camera.project((ring - [x, 0, z]) * 0.8 + [x, 0, z] + [float(street.centre(z)) * 0.2, 0, 0]), tone(asphalt, 0.78))))
    return out


def _lane_marks(lay, street: Street, white: Colour) -> None:  # noqa: ANN001 - the local function of ground_marks
    lanes = sorted({round(lane.offset, 3): lane for lane in street.lanes}.values(), key=lambda lane: lane.offset)
    stops: list[tuple[float, float]] = [(0.0, FAR)]
    if street.crossing is not None:
        stops = [(0.0, street.crossing - street.crossing_half - 4.8), (street.crossing + street.crossing_half + 4.0, FAR)]
    for a, b in zip(lanes, lanes[1:], strict=False):
        x = (a.offset + b.offset) / 2
        solid = a.direction != b.direction and street.district == "city"
        for z0, z1 in stops:
            if z1 <= z0:
                continue
            if solid:
                for shift in (-0.11, 0.11):
                    lay(labels.ROAD, x + shift - 0.06, x + shift + 0.06, white, z0, z1)
                continue
            z = 1.0
            while z < min(z1, 70):
                if z + 3 > z0 and not (street.zebra is not None and abs(z - street.zebra) < 4.5):
                    lay(labels.ROAD, x - 0.07, x + 0.07, white, max(z, z0), min(z + 3.0, z1))
                z += 7.5 if street.district != "city" else 6.0
    for edge, parked, side in ((street.left, street.park_left, 1), (street.right, street.park_right, -1)):
        x = edge + side * (2.15 if parked else 0.45)
        for z0, z1 in stops:
            if z1 > z0 and (parked or street.district == "city"):
                lay(labels.ROAD, x - 0.05, x + 0.05, white, z0, z1)
    if street.zebra is not None:
        x = street.left + 0.5
        while x < street.right - 0.5:
            lay(labels.ROAD, x, x + 0.5, white, street.zebra, street.zebra + 3.0)
            x += 1.05
        stop = street.zebra - 1.4
        ours = [lane for lane in street.lanes if lane.direction > 0]
        if stop > 2:
            lay(labels.ROAD, min(lane.offset for lane in ours) - 1.5, max(lane.offset for lane in ours) + 1.5, white, stop, stop + 0.45)


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """(512, 512) float32 tileable noise, mean 0, spread about 1: coarse clouds and fine grain."""
    rng = np.random.Generator(np.random.Philox(20240501))
    total = np.zeros((512, 512), np.float32)
    for size, weight in ((8, 0.8), (32, 0.7), (128, 0.7), (512, 0.9)):
        small = rng.standard_normal((size, size)).astype(np.float32)
        wide = np.concatenate([small[-2:], small, small[:2]])
        wide = np.concatenate([wide[:, -2:], wide, wide[:, :2]], 1)
        scale = 512 // size
        big = cv2.resize(wide, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else wide
        total += weight * big[2 * scale : 2 * scale + 512, 2 * scale : 2 * scale + 512]
    return total / total.std()


def light_ground(sheet: Sheet, rng: np.random.Generator, layout: Layout, shadow: np.ndarray) -> None:
    """Texture, light, shadow and air over everything below the horizon, in place.

    Args:
        shadow: (H, W) float32 at the asked size, 0 in the open and 1 in full shade.
    """
    camera, light = layout.camera, layout.light
    height, width = sheet.height, sheet.width
    top = min(height - 1, max(0, round(camera.horizon * height)))
    rows = (np.arange(top, height) + 0.5) / height
    depth = camera.ground_depth(rows)
    depth = np.minimum(depth, 4000.0).astype(np.float32)
    columns = ((np.arange(width) + 0.5 - width / 2) / height).astype(np.float32)
    x = columns[None] * (depth / camera.focal)[:, None]
    z = np.broadcast_to(depth[:, None], x.shape)
    shift = rng.uniform(0, 512, 2).astype(np.float32)
    bend = np.asarray(layout.street.centre(depth), np.float32)[:, None]
    texture = np.zeros(x.shape, np.float32)
    # Two scales of grain, each fading out where its texels get smaller than a pixel.
    for scale, strength in ((18.0, 0.050), (2.2, 0.055)):
        u = np.mod((x - bend) * scale + shift[0], 512).astype(np.float32)
        v = np.mod(z * scale * 0.6 + shift[1], 512).astype(np.float32)
        fine = np.clip(camera.focal * height / depth / scale * 1.3, 0, 1)[:, None]
        texture += cv2.remap(_grain(), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) * (strength * fine)
    glow = np.zeros(x.shape, np.float32)
    if light.lit > 0:
        for lamp_x, lamp_z in light.lamps:
            glow += 0.75 / (1.0 + ((x - lamp_x) ** 2 + (z - lamp_z) ** 2) / 14.0)
        beam = np.exp(-((x / (1.6 + 0.16 * z)) ** 2)) * np.exp(-((z / 20.0) ** 2)) * np.minimum(1.0, z / 4.0)
        glow = light.lit * (glow + 0.85 * beam)
    sun = max(0.0, light.sun[1])
    shade = 1.0 - shadow[top:]
    left = np.exp(-light.density * np.minimum(depth, 800.0))[:, None]
    soft = 1.0 - 0.45 * shadow[top:]
    colour = sheet.colour[top * SUPERSAMPLE :]
    gains = np.stack([
        (light.ambient[c] * soft + light.direct[c] * sun * shade + glow * (1.0, 0.88, 0.66)[c]) * (1.0 + texture) for c in range(3)
    ], -1) * left[..., None]  # fmt: skip
    haze = np.array(light.haze, np.float32) * (1.0 - left)[..., None]
    gains = cv2.resize(gains.astype(np.float32), (colour.shape[1], colour.shape[0]), interpolation=cv2.INTER_LINEAR)
    lit = cv2.multiply(colour, gains, dtype=cv2.CV_32F)
    haze = cv2.resize(np.broadcast_to(haze, (len(depth), 2, 3)).astype(np.float32), (colour.shape[1], colour.shape[0]), interpolation=cv2.INTER_LINEAR)
    colour[:] = cv2.add(lit, haze, dtype=cv2.CV_8U)
