"""The ground: road, lane marks, sidewalks, grass; painted as pure colour, then textured, lit and dimmed by row."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from effdet.streets.canvas import SUPERSAMPLE, Camera, Canvas, Colour, Mark, circle, palette
from effdet.streets.labels import Label
from effdet.streets.layout import FAR, Layout, Street
from effdet.streets.looks import pick, tone

_ASPHALT = palette("6c6c70 606063 7c7975 585a60")
_PAVING = palette("aca69d 9a9a99 b4a292 928c87")
_GRASS = palette("5c743a 6c7a42 7c764a")
_STEPS = 26
_END = FAR * 4
_FIXED = 120.0
"""A gain of 1 as a byte."""


class _Layers:
    """Collects (label, mark) of flat shapes in street coordinates: offsets to the side, depths."""

    def __init__(self, street: Street, camera: Camera) -> None:
        self.street, self.camera = street, camera
        self.near = max(camera.nearest_ground * 0.6, 0.9)
        self.out: list[tuple[int, Mark]] = []

    def strip(self, label: int, left: float, right: float, colour: Colour, z0: float = 0.0, z1: float = _END) -> None:
        """A band that follows the street; its two edges in either order."""
        left, right = min(left, right), max(left, right)
        z0 = max(z0, self.near)
        if z1 <= z0:
            return
        z = np.geomspace(z0, z1, _STEPS if z1 - z0 > 12 else 5)
        bend = np.asarray(self.street.centre(z))
        x = np.concatenate([left + bend, (right + bend)[::-1]])
        self.out.append((label, Mark(self.flat(x, np.concatenate([z, z[::-1]])), colour)))

    def line(self, label: int, x: float, half: float, colour: Colour, z0: float = 0.0, z1: float = _END) -> None:
        """A band `half` metres to either side of an offset."""
        self.strip(label, x - half, x + half, colour, z0, z1)

    def flat(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(…, 2) image points of places on the ground."""
        return self.camera.project(np.stack([x, np.zeros_like(z), z], -1))

    def tiles(self, label: int, boxes: np.ndarray, colour: Colour) -> None:
        """(m, 4) rows of (left, right, z0, z1): many small flat quads of one colour that do not overlap."""
        boxes = boxes[boxes[:, 3] > self.near]
        if not len(boxes):
            return
        left, right, z0, z1 = boxes.T
        z0 = np.maximum(z0, self.near)
        z = np.stack([z0, z0, z1, z1], 1)
        x = np.stack([left, right, right, left], 1) + self.street.centre(z)
        self.out.append((label, Mark(self.flat(x, z), colour)))


def ground_marks(rng: np.random.Generator, layout: Layout) -> list[tuple[int, Mark]]:
    """(label id, mark) of the ground, in drawing order; colours are unlit."""
    street, camera, wet = layout.street, layout.camera, layout.light.wet
    asphalt = tone(pick(rng, _ASPHALT, 6), 1 - 0.28 * wet)
    paving = tone(pick(rng, _PAVING, 6), 1 - 0.2 * wet)
    grass = pick(rng, _GRASS, 8)
    white = tone((234, 232, 224), 0.62 + 0.38 * street.paint)
    layers = _Layers(street, camera)
    suburb = street.district == "suburb"
    layers.strip(Label.TERRAIN if suburb else Label.SIDEWALK, -400, 400, grass if suburb else paving)
    _sidewalks(layers, street, paving, grass)
    _road(layers, rng, street, asphalt)
    if street.crossing is not None:
        _crossing(layers, street, asphalt, paving, white)
    _lane_marks(layers, street, white)
    if street.tram is not None:
        x = street.lanes[street.tram].offset
        for shift in (-0.72, 0.72):
            layers.line(Label.ROAD, x + shift, 0.07, tone(asphalt, 0.7), z1=80)
            layers.line(Label.ROAD, x + shift, 0.03, (172, 174, 178), z1=80)
    return layers.out


def _sidewalks(layers: _Layers, street: Street, paving: Colour, grass: Colour) -> None:
    z = np.concatenate([np.arange(2.0, 16.0, 0.9), np.arange(16.0, 40.0, 1.8)])
    for side, edge, walk, verge in (
        (-1, street.left, street.walk[0], street.verge[0]),
        (1, street.right, street.walk[1], street.verge[1]),
    ):
        inner, outer = edge, edge + side * walk
        low, high = min(inner, outer), max(inner, outer)
        layers.strip(Label.SIDEWALK, low, high, paving)
        joints = np.stack([np.full_like(z, low), np.full_like(z, high), z, z + 0.02 + 0.0014 * z], 1)
        layers.tiles(Label.SIDEWALK, joints, tone(paving, 0.88))
        for k in range(1, 4):
            layers.line(Label.SIDEWALK, inner + side * walk * k / 4, 0.015, tone(paving, 0.87), z1=30)
        if verge:
            layers.strip(Label.TERRAIN, outer, outer + side * verge, grass)
        layers.strip(Label.SIDEWALK, inner, inner + side * 0.18, tone(paving, 1.16))


def _road(layers: _Layers, rng: np.random.Generator, street: Street, asphalt: Colour) -> None:
    layers.strip(Label.ROAD, street.left, street.right, asphalt)
    for edge, side in ((street.left, 1), (street.right, -1)):
        layers.strip(Label.ROAD, edge, edge + side * 0.38, tone(asphalt, 0.87))
        layers.strip(Label.ROAD, edge, edge + side * 0.07, tone(asphalt, 0.52))
    for lane in street.lanes:  # tracks worn by wheels, and the stain between them
        for shift in (-0.8, 0.8):
            layers.line(Label.ROAD, lane.offset + shift, 0.26, tone(asphalt, 1.045), z1=60)
        layers.line(Label.ROAD, lane.offset, 0.22, tone(asphalt, 0.955), z1=60)
    if street.bike_lane:
        red = (asphalt[0] * 1.25, asphalt[1] * 0.78, asphalt[2] * 0.70)
        layers.strip(Label.ROAD, street.right - 1.5, street.right - 0.38, red)
    for _ in range(int(rng.integers(0, 4))):  # mended places
        x, z = rng.uniform(street.left + 0.5, street.right - 2.0), rng.uniform(3, 24)
        box = np.array([[x, x + rng.uniform(0.8, 2.2), z, z + rng.uniform(0.8, 5)]])
        edge = box + [[-0.05, 0.05, -0.08, 0.08]]
        layers.tiles(Label.ROAD, edge, tone(asphalt, 0.72))
        layers.tiles(Label.ROAD, box, tone(asphalt, float(rng.choice([0.84, 0.9, 1.1]))))
    for _ in range(int(rng.integers(1, 4))):  # cracks that wander along the road
        z = np.linspace(0, rng.uniform(3, 9), 12) + rng.uniform(3, 14)
        x = rng.uniform(street.left + 0.8, street.right - 0.8) + np.cumsum(rng.normal(0, 0.10, 12)) + street.centre(z)
        width = layers.camera.size(0.018, float(z[0]))
        layers.out.append((Label.ROAD, Mark(layers.flat(x, z), tone(asphalt, 0.66), kind="line", width=width)))
    across, along = circle(16).T
    for _ in range(int(rng.integers(0, 3))):  # manhole covers
        x, z = rng.uniform(street.left + 1, street.right - 1), rng.uniform(4, 16)
        for reach, gain in ((0.36, 0.6), (0.29, 0.82), (0.15, 0.66)):
            cover = layers.flat(across * reach + x + float(street.centre(z)), along * reach + z)
            layers.out.append((Label.ROAD, Mark(cover, tone(asphalt, gain))))


def _crossing(layers: _Layers, street: Street, asphalt: Colour, paving: Colour, white: Colour) -> None:
    assert street.crossing is not None
    z0, z1 = street.crossing - street.crossing_half, street.crossing + street.crossing_half

    def band(label: int, left: float, right: float, low: float, high: float, colour: Colour) -> None:
        layers.tiles(label, np.array([[left, right, low, high]]), colour)

    band(Label.SIDEWALK, -400, 400, z0 - 2.6, z1 + 2.6, paving)
    band(Label.SIDEWALK, -400, 400, z0 - 0.18, z1 + 0.18, tone(paving, 1.16))
    band(Label.ROAD, -400, 400, z0, z1, asphalt)
    band(Label.ROAD, -400, 400, z0, z0 + 0.07, tone(asphalt, 0.6))
    layers.strip(Label.ROAD, street.left, street.right, asphalt, z0 - 3.0, z1 + 3.0)
    x = np.array([x for x in np.arange(-40, 40, 6.0).tolist() if not street.left - 3 < x < street.right + 1])
    z = np.full_like(x, street.crossing)
    layers.tiles(Label.ROAD, np.stack([x, x + 3, z - 0.07, z + 0.07], 1), white)


def _lane_marks(layers: _Layers, street: Street, white: Colour) -> None:
    lanes = sorted(street.lanes, key=lambda lane: lane.offset)
    stops: list[tuple[float, float]] = [(0.0, FAR)]
    if street.crossing is not None:
        low, high = street.crossing - street.crossing_half, street.crossing + street.crossing_half
        stops = [(0.0, low - 4.8), (high + 4.0, FAR)]
    city = street.district == "city"
    for a, b in pairwise(lanes):
        x = (a.offset + b.offset) / 2
        if city and a.direction != b.direction:
            for z0, z1 in stops:
                for shift in (-0.11, 0.11):
                    layers.line(Label.ROAD, x + shift, 0.06, white, z0, z1)
            continue
        starts = np.arange(1.0, 70.0, 6.0 if city else 7.5)
        dashes = [(z, z + 3.0) for z in starts.tolist() if any(z0 <= z and z + 3.0 <= z1 for z0, z1 in stops)]
        if street.zebra is not None:
            dashes = [(z0, z1) for z0, z1 in dashes if z1 < street.zebra - 1.5 or z0 > street.zebra + 3.5]
        if dashes:
            layers.tiles(Label.ROAD, np.array([[x - 0.07, x + 0.07, z0, z1] for z0, z1 in dashes]), white)
    for edge, parked, side in ((street.left, street.park_left, 1), (street.right, street.park_right, -1)):
        x = edge + side * (2.15 if parked else 0.45)
        for z0, z1 in stops:
            if parked or city:
                layers.line(Label.ROAD, x, 0.05, white, z0, z1)
    if street.bike_lane:
        for z0, z1 in stops:
            layers.strip(Label.ROAD, street.right - 1.6, street.right - 1.5, white, z0, z1)
    arrows = (street.zebra if street.zebra is not None else 16.0) - 6.5
    if city and arrows > 4:
        shape = np.array([[-0.08, 0], [0.08, 0], [0.08, 2.0], [0.28, 2.0], [0, 3.2], [-0.28, 2.0], [-0.08, 2.0]])
        for lane in (lane for lane in lanes if lane.direction > 0):
            x, z = lane.offset + shape[:, 0], arrows + shape[:, 1]
            layers.out.append((Label.ROAD, Mark(layers.flat(x + street.centre(z), z), white)))
    if street.zebra is not None:
        x = np.arange(street.left + 0.5, street.right - 0.9, 1.05)
        z = np.full_like(x, street.zebra)
        layers.tiles(Label.ROAD, np.stack([x, x + 0.5, z, z + 3.0], 1), white)
        stop = street.zebra - 1.4
        ours = [lane.offset for lane in street.lanes if lane.direction > 0]
        if stop > 2:
            layers.tiles(Label.ROAD, np.array([[min(ours) - 1.5, max(ours) + 1.5, stop, stop + 0.45]]), white)


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


def light_ground(canvas: Canvas, rng: np.random.Generator, layout: Layout, hard: np.ndarray, soft: np.ndarray) -> None:
    """Texture, light, shadow and air over everything below the horizon, in place.

    Args:
        hard: (H, W) float32 at the asked size: 0 in the open, 1 where the sun does not reach.
        soft: likewise, but of the sky's light, below and beside things.
    """
    camera, light = layout.camera, layout.light
    height, width = canvas.height, canvas.width
    top = min(height - 1, max(0, round(camera.horizon * height)))
    rows = (np.arange(top, height) + 0.5) / height
    depth = camera.ground_depth(rows)
    depth = np.minimum(depth, 4000.0).astype(np.float32)
    columns = ((np.arange(width) + 0.5 - width / 2) / height).astype(np.float32)
    x = columns[None] * (depth / np.float32(camera.focal))[:, None]
    z = np.broadcast_to(depth[:, None], x.shape)
    shift = rng.uniform(0, 512, 2).astype(np.float32)
    bend = np.asarray(layout.street.centre(depth), np.float32)[:, None]
    texture = np.zeros(x.shape, np.float32)
    x_street = x - bend
    # Two scales of grain, each fading out where its texels get smaller than a pixel.
    for scale, strength in ((18.0, 0.050), (2.2, 0.055)):
        u = np.mod(x_street * np.float32(scale) + shift[0], np.float32(512))
        v = np.broadcast_to(np.mod(depth * np.float32(scale * 0.6) + shift[1], np.float32(512))[:, None], x.shape)
        fine = np.clip(camera.focal * height / depth / scale * 1.3, 0, 1)[:, None]
        texture += cv2.remap(_grain(), u, np.ascontiguousarray(v), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) * (
            strength * fine
        )
    glow = np.zeros(x.shape, np.float32)
    if light.lit > 0:
        for lamp_x, lamp_z in light.lamps:
            glow += 0.75 / (1.0 + ((x - lamp_x) ** 2 + (z - lamp_z) ** 2) / 14.0)
        beam = np.exp(-((x / (1.6 + 0.16 * z)) ** 2)) * np.exp(-((z / 20.0) ** 2)) * np.minimum(1.0, z / 4.0)
        glow = light.lit * np.minimum(0.95, glow + 0.6 * beam)
    sun = max(0.0, light.sun[1])
    shade = 1.0 - np.maximum(hard, soft)[top:]
    left = np.exp(-light.density * np.minimum(depth, 800.0))[:, None]
    open_sky = 1.0 - 0.78 * soft[top:]
    colour = canvas.colour[top * SUPERSAMPLE :]
    rough = (1.0 + texture) * left * _FIXED
    planes = []
    for channel, lamp in enumerate((1.0, 0.88, 0.66)):
        gain = open_sky * light.ambient[channel] + shade * (light.direct[channel] * sun)
        if light.lit > 0:
            gain += glow * open_sky * lamp
        planes.append(gain * rough)
    # Eighth-bit fixed point: OpenCV multiplies bytes many times faster than floats.
    size = (colour.shape[1], colour.shape[0])
    gains = cv2.resize(cv2.convertScaleAbs(cv2.merge(planes)), size, interpolation=cv2.INTER_LINEAR)
    haze = (np.array(light.haze, np.float32) * (1.0 - left)[..., None]).astype(np.uint8)
    haze = cv2.resize(np.repeat(haze, 2, axis=1), size, interpolation=cv2.INTER_LINEAR)
    cv2.multiply(colour, gains, dst=colour, scale=1.0 / _FIXED)
    cv2.add(colour, haze, dst=colour)
