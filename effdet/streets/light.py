"""How the hour and the weather light a scene: one :class:`Light` shades every surface of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from effdet.streets.canvas import Colour

TIMES = ("day", "dusk", "night")
WEATHERS = ("clear", "cloudy", "rain", "fog", "wet")


@dataclass(frozen=True)
class Light:
    time: str
    weather: str
    sun: tuple[float, float, float]
    """Unit vector to the sun (or moon), world axes."""
    direct: Colour
    """Gain of each channel on a surface that faces the sun."""
    ambient: Colour
    """Gain of each channel without any sun."""
    zenith: Colour
    """Sky colour overhead, as it appears."""
    haze: Colour
    """Sky colour at the horizon, and what distance fades to."""
    density: float
    """Extinction of the air, 1/m."""
    lit: float
    """0…1: how far lamps, windows and headlights are on."""
    wet: float
    """0…1: how wet the ground is."""
    clouds: float
    """0…1 cover."""
    lamps: tuple[tuple[float, float], ...] = ()
    """(x, z) of the street lamps, metres."""

    @property
    def shadow(self) -> float:
        """0…1: how hard the shadows are."""
        return max(self.direct) / (max(self.direct) + 1.2 * max(self.ambient))

    def glow(self, x: float, z: float) -> float:
        """Gain that street lamps and the own headlights add at a place on the ground."""
        if self.lit <= 0:
            return 0.0
        gain = 0.0
        for lamp_x, lamp_z in self.lamps:
            gain += 0.75 / (1.0 + ((x - lamp_x) ** 2 + (z - lamp_z) ** 2) / 14.0)
        beam = math.exp(-((x / (1.6 + 0.16 * z)) ** 2)) * math.exp(-((z / 20.0) ** 2)) * min(1.0, z / 4.0)
        return self.lit * min(0.85, gain + 0.6 * beam)

    def fade(self, colour: Colour, depth: float) -> Colour:
        """A colour seen through `depth` metres of air."""
        left = math.exp(-self.density * depth)
        rest = 1.0 - left
        haze = self.haze
        return (
            colour[0] * left + haze[0] * rest,
            colour[1] * left + haze[1] * rest,
            colour[2] * left + haze[2] * rest,
        )

    def shade(self, albedo: Colour, facing: float, depth: float, glow: float = 0.0, up: float = 0.0) -> Colour:
        """A surface's colour: `facing` is the cosine to the sun, `up` that to the sky, `glow` from :meth:`glow`."""
        sun = max(0.0, facing)
        sky = 0.82 + 0.25 * up
        direct, ambient = self.direct, self.ambient
        warm = (1.0 * glow, 0.88 * glow, 0.66 * glow)
        return self.fade(
            (
                min(255.0, albedo[0] * (ambient[0] * sky + direct[0] * sun + warm[0])),
                min(255.0, albedo[1] * (ambient[1] * sky + direct[1] * sun + warm[1])),
                min(255.0, albedo[2] * (ambient[2] * sky + direct[2] * sun + warm[2])),
            ),
            depth,
        )


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return tuple(a * (1 - share) + b * share for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def make_light(rng: np.random.Generator, time: str, weather: str, lamps: tuple[tuple[float, float], ...]) -> Light:
    """The light of an hour and a weather, varied by `rng`."""
    azimuth = rng.uniform(-math.pi, math.pi)
    elevation = math.radians({"day": rng.uniform(24, 62), "dusk": rng.uniform(5, 14), "night": 40.0}[time])
    sun = (
        math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
        math.cos(azimuth) * math.cos(elevation),
    )
    cover = {
        "clear": rng.uniform(0.05, 0.45),
        "cloudy": rng.uniform(0.75, 1.0),
        "rain": 1.0,
        "fog": 1.0,
        "wet": rng.uniform(0.5, 0.95),
    }[weather]
    open_sky = {"clear": 1.0, "cloudy": 0.12, "rain": 0.0, "fog": 0.05, "wet": 0.25}[weather] * rng.uniform(0.85, 1.0)
    warmth = rng.uniform(0, 1)
    if time == "day":
        direct = (0.92 * open_sky, 0.86 * open_sky, (0.72 + 0.06 * (1 - warmth)) * open_sky)
        base = (0.50, 0.56, 0.68) if open_sky > 0.5 else (0.80, 0.82, 0.86)
        ambient = _mix(base, (0.9, 0.9, 0.9), 0.12 * warmth)
        zenith = _mix((62, 118, 196), (98, 152, 214), rng.uniform())
        haze = _mix((188, 208, 228), (216, 220, 218), rng.uniform())
        grey = _mix((176, 184, 194), (206, 208, 210), rng.uniform())
        zenith = _mix(grey, zenith, open_sky)
        haze = _mix(_mix(grey, (226, 228, 230), 0.5), haze, open_sky)
        lit = {"rain": 0.35, "fog": 0.4}.get(weather, 0.0) * rng.uniform(0.5, 1.0)
        dim = {"rain": rng.uniform(0.62, 0.8), "fog": 0.95}.get(weather, 1.0)
        ambient = tuple(a * dim for a in ambient)
        zenith, haze = _mix((0, 0, 0), zenith, dim), _mix((0, 0, 0), haze, min(1.0, dim + 0.08))
    elif time == "dusk":
        direct = (1.0 * open_sky, 0.56 * open_sky, 0.26 * open_sky)
        ambient = _mix((0.44, 0.40, 0.48), (0.36, 0.40, 0.55), warmth)
        zenith = _mix((58, 70, 124), (84, 96, 150), rng.uniform())
        haze = _mix((246, 168, 104), (232, 148, 138), rng.uniform())
        zenith = _mix((88, 90, 108), zenith, max(open_sky, 0.15))
        haze = _mix((148, 134, 138), haze, max(open_sky, 0.25))
        lit = rng.uniform(0.5, 0.9)
    else:
        direct = (0.05, 0.06, 0.09)
        ambient = _mix((0.13, 0.15, 0.24), (0.20, 0.19, 0.24), warmth)
        zenith = _mix((8, 11, 26), (18, 22, 44), rng.uniform())
        haze = _mix((34, 36, 58), (66, 54, 56), rng.uniform())
        lit = 1.0
    density = {
        "clear": 0.0016,
        "cloudy": 0.0032,
        "rain": rng.uniform(0.008, 0.016),
        "fog": rng.uniform(0.022, 0.042),
        "wet": 0.004,
    }[weather]
    wet = {"rain": rng.uniform(0.7, 1.0), "wet": rng.uniform(0.5, 0.9), "fog": rng.uniform(0, 0.3)}.get(weather, 0.0)
    return Light(time, weather, sun, direct, ambient, zenith, haze, density, float(lit), float(wet), cover, lamps)  # type: ignore[arg-type]
