"""Changes of colour and sharpness, by albumentations; nothing moves.

The library takes four seconds to import, and asks its host for news at import unless reported not to, so it is imported on
first use, and reported.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from effdet.data.augment import AugmentSpec
from effdet.data.transforms import import_albumentations


class Photometric:
    """Applies a spec's colour jitter, grey, blur and noise to an image."""

    def __init__(self, spec: AugmentSpec) -> None:
        self._steps: list[tuple[float, Any]] = []
        if not any((spec.colour, spec.grayscale, spec.blur, spec.noise)):
            return
        import_albumentations()
        import albumentations as A

        def around(strength: float) -> tuple[float, float]:
            return (1 - strength, 1 + strength)

        jitter = A.ColorJitter(
            brightness=around(spec.brightness),
            contrast=around(spec.contrast),
            saturation=around(spec.saturation),
            hue=(-spec.hue, spec.hue),
            p=1,
        )
        blur = A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, max(0.1, spec.blur_sigma)), p=1)
        noise = A.GaussNoise(std_range=(min(0.005, spec.noise_std), spec.noise_std), p=1)
        steps = [(spec.colour, jitter), (spec.grayscale, A.ToGray(p=1)), (spec.blur, blur), (spec.noise, noise)]
        self._steps = [(chance, step) for chance, step in steps if chance > 0]

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(h, w, 3) uint8 -> the same shape and dtype, changed as `rng` says."""
        height, width = pixels.shape[:2]
        if min(height, width) == 1:  # the library drops sides of one pixel
            pixels = np.pad(pixels, ((0, int(height == 1)), (0, int(width == 1)), (0, 0)), mode="edge")
        for chance, step in self._steps:
            if rng.random() < chance:
                # Its own seeding gives each transform the same stream, so that their draws would go together.
                step.set_random_state(rng, random.Random(int(rng.integers(2**62))))
                pixels = step(image=np.ascontiguousarray(pixels))["image"]
        return pixels[:height, :width]


def erase(canvas: np.ndarray, rng: np.random.Generator, share: tuple[float, float]) -> tuple[int, int, int, int]:
    """Fills a random rectangle of the (H, W, 3) uint8 `canvas` with one random colour, in place.

    Returns:
        left, top, right, bottom of the rectangle.
    """
    height, width = canvas.shape[:2]
    area = rng.uniform(*share) * height * width
    ratio = np.exp(rng.uniform(np.log(1 / 3), np.log(3)))
    wide, high = (
        int(np.clip(round(side), 1, limit))
        for side, limit in ((np.sqrt(area * ratio), width), (np.sqrt(area / ratio), height))
    )
    left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
    canvas[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
    return left, top, left + wide, top + high
