"""A colour for each class: stable by index, well apart, legible on photographs.

Names of Cityscapes get that set's own colours. Others walk round the hue circle of OKLCH (a perceptual space: equal steps
look equally far apart) by the golden ratio, so that any first K of them are spread out and a class keeps its colour when
classes are added; lightness and chroma alternate so that neighbours in hue still differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]
"""RGB, 0…255."""

CITYSCAPES: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

_SYNONYMS = {
    # CamVid's words for the same things.
    "pavement": "sidewalk",
    "tree": "vegetation",
    "sign": "traffic sign",
    "pedestrian": "person",
    "bicyclist": "rider",
}

_GOLDEN = (math.sqrt(5) - 1) / 2
_TONES = ((0.70, 0.19), (0.80, 0.15), (0.62, 0.20))
"""OKLCH lightness and chroma by turns."""


def class_colours(names: Sequence[str | None]) -> list[Colour]:
    """One colour a class. Cityscapes' palette where at least half of the names are its own, else `spread` throughout.

    The mixed rule keeps a set such as COCO, which shares a few names, in one style of bright colours.
    """
    known = [CITYSCAPES.get(_plain(name)) for name in names]
    if names and sum(colour is not None for colour in known) * 2 >= len(names):
        return [colour or spread(index) for index, colour in enumerate(known)]
    return [spread(index) for index in range(len(names))]


def spread(index: int) -> Colour:
    """The colour of class `index`."""
    hue = math.tau * ((0.07 + index * _GOLDEN) % 1.0)
    lightness, chroma = _TONES[index % len(_TONES)]
    while True:  # the gamut of sRGB is narrower at some hues: less chroma there
        linear = _linear_rgb(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
        if linear.min() >= -1e-4 and linear.max() <= 1 + 1e-4 or chroma < 0.01:
            return _encoded(linear)
        chroma *= 0.95


def luminance(colour: Sequence[int]) -> float:
    """WCAG relative luminance, 0…1."""
    linear = [_decoded(value / 255) for value in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Sequence[int], second: Sequence[int]) -> float:
    """WCAG contrast ratio, 1…21."""
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def ink(background: Sequence[int]) -> Colour:
    """Black or white, whichever reads better on `background`: never under a contrast of 4.5."""
    white, black = (255, 255, 255), (16, 16, 16)
    return white if contrast(white, background) >= contrast(black, background) else black


def lifted(colour: Colour, least: float = 0.10) -> Colour:
    """`colour` made lighter until its luminance is `least`: thin lines in very dark colours vanish on a photograph."""
    values = np.array(colour, float)
    share = 0.0
    while luminance(tuple(values)) < least and share < 1:
        share += 0.05
        values = np.array(colour) * (1 - share) + 255 * share
    red, green, blue = (round(float(value)) for value in values)
    return red, green, blue


def _plain(name: str | None) -> str:
    plain = " ".join((name or "").casefold().replace("_", " ").replace("-", " ").split())
    return _SYNONYMS.get(plain, plain)


def _linear_rgb(lightness: float, a: float, b: float) -> np.ndarray:
    """OKLab -> linear sRGB (Ottosson 2020, "A perceptual color space for image processing")."""
    to_lms = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    return to_rgb @ (to_lms @ np.array([lightness, a, b])) ** 3


def _encoded(linear: np.ndarray) -> Colour:
    values = np.clip(linear, 0, 1)
    gamma = np.where(values <= 0.0031308, 12.92 * values, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(value) * 255) for value in gamma)
    return red, green, blue


def _decoded(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
