"""The sky: gradient, clouds, sun or moon and stars; and the skyline where the street ends."""

from __future__ import annotations

import cv2
import numpy as np

from effdet.streets.canvas import Canvas, Mark
from effdet.streets.labels import Label
from effdet.streets.layout import Layout
from effdet.streets.light import Light
from effdet.streets.looks import tone


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """(128, 128) float32 in about 0…1: soft noise of four scales_per_octave."""
    total = np.zeros((128, 128), np.float32)
    for size, weight in ((3, 1.0), (6, 0.6), (13, 0.36), (28, 0.22)):
        small = rng.standard_normal((size, size)).astype(np.float32)
        total += weight * cv2.resize(small, (128, 128), interpolation=cv2.INTER_CUBIC)
    return 0.5 + 0.32 * total


def paint_sky(canvas: Canvas, rng: np.random.Generator, layout: Layout) -> None:
    """Fill the colour canvas's upper part; nothing is stamped (the label canvas starts as sky)."""
    camera, light = layout.camera, layout.light
    height, width = canvas.colour.shape[:2]
    rows = (np.arange(128) + 0.5) / 128
    high = np.clip((camera.horizon - rows) / max(0.2, camera.horizon), 0, 1)[:, None, None]
    haze = np.array(light.haze, np.float32)
    sky = haze + (np.array(light.zenith, np.float32) - haze) * high**0.75
    sky = np.broadcast_to(sky, (128, 128, 3)).astype(np.float32)
    cloud = _clouds(rng)
    # Clouds get flatter and thinner towards the horizon.
    warp = 1.0 / (0.16 + np.clip(camera.horizon - rows, 0, 1))
    u = ((np.arange(128)[None] - 64) * warp[:, None] * 0.32 + 64 + rng.uniform(0, 128)).astype(np.float32)
    v = np.broadcast_to((warp * 18.0)[:, None], (128, 128)).astype(np.float32)
    u, v = (np.abs(np.mod(place, 254) - 127).astype(np.float32) for place in (u, v))  # mirrored at the edges
    cloud = cv2.remap(cloud, u, v, cv2.INTER_LINEAR)
    cover = np.clip((cloud - (1.05 - 0.75 * light.clouds)) * 2.4, 0, 1)[..., None] * np.clip(high * 2.2, 0.15, 1)
    bright = {"day": 1.0, "dusk": 0.86, "night": 1.25}[light.time]
    top = haze * bright * (0.5 if light.time == "night" else 1.0) + (24 if light.time == "day" else 0)
    shade = (0.80 + 0.25 * cloud)[..., None]
    if light.weather in ("rain", "cloudy", "wet") and light.time != "night":
        shade = (0.62 + 0.42 * cloud)[..., None]
    sky += (np.clip(top * shade, 0, 255) - sky) * cover * 0.85
    sx, sy, sz = light.sun
    if sz > 0.15 and light.clouds < 0.7 and light.time != "night":
        x, y = sx / sz * camera.focal, camera.horizon - sy / sz * camera.focal
        spread = (((np.arange(128)[None] + 0.5) / 128 - 0.5) * width / height - x) ** 2 + (rows[:, None] - y) ** 2
        halo = np.exp(-spread / 0.004) * 0.9 + np.exp(-spread / 0.05) * 0.4
        colour = (255, 236, 196) if light.time == "day" else (255, 190, 110)
        sky += halo[..., None] * (np.array(colour, np.float32) - 40)
    cv2.resize(cv2.convertScaleAbs(sky), (width, height), dst=canvas.colour, interpolation=cv2.INTER_LINEAR)
    if light.time == "night" and light.clouds < 0.5:
        dots: list[tuple[int, int, int, tuple[int, ...]]] = []
        for u0, v0, size in rng.random((90, 3)).tolist():
            value, radius = int(120 + 120 * size), max(1, round(height * 0.0013 * (0.5 + size)))
            dots.append((int(u0 * width), int(v0 * camera.horizon * 0.8 * height), radius, (value, value, value)))
        x, y = int(rng.uniform(0.05, 0.95) * width), int(rng.uniform(0.05, 0.25) * height)  # a crescent moon
        dark = tuple(int(c) for c in light.zenith)
        dots.append((x, y, round(height * 0.021), (232, 230, 214)))
        dots.append((x + round(height * 0.008), y - round(height * 0.005), round(height * 0.018), dark))
        for x, y, radius, colour in dots:
            cv2.circle(canvas.colour, (x, y), radius, colour, -1, cv2.LINE_AA)


def skyline(rng: np.random.Generator, layout: Layout) -> list[tuple[int, Mark]]:
    """(label, mark): far houses and tree tops along the horizon, nearly lost in the air."""
    light, camera = layout.light, layout.camera
    out: list[tuple[int, Mark]] = []

    def seen(base: tuple[float, float, float], depth: float, up: float) -> tuple[float, float, float]:
        thick = Light.fade(light, light.shade(base, 0.4, 0.0, 0.0, up), depth)
        return tuple(0.55 * a + 0.45 * b for a, b in zip(thick, light.haze, strict=True))  # type: ignore[return-value]

    if layout.street.district != "suburb":
        edge = -1.6
        while edge < 1.6:
            wide, high = rng.uniform(0.04, 0.15), rng.uniform(0.02, 0.13)
            low, top = camera.horizon + 0.004, camera.horizon - high
            block = np.array([[edge, low], [edge, top], [edge + wide, top], [edge + wide, low]])
            out.append((Label.BUILDING, Mark(block, seen(tone((150, 146, 142), rng.uniform(0.75, 1.1)), 160, 0.0))))
            edge += wide * rng.uniform(0.8, 1.1)
    steps = np.arange(-1.7, 1.71, 0.02)
    crown = rng.uniform(0.012, 0.035) + 0.012 * np.abs(rng.standard_normal(len(steps)))
    ridge = np.stack([steps, camera.horizon - crown], 1)
    hills = np.concatenate([ridge, [[1.7, camera.horizon + 0.004], [-1.7, camera.horizon + 0.004]]])
    out.append((Label.VEGETATION, Mark(hills, seen((84, 104, 66), 120, 0.2))))
    return out
