"""Images to measure statistics on: the user's, or generated ones where there are none.

Generated images have what natural ones have and noise lacks: amplitudes that fall with frequency as 1/f (Field, 1987), and
things that hide each other, of all sizes ("dead leaves", Lee, Mumford and Huang, 2001). They depend on nothing but the size
of the canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from torch import Tensor

from effdet.pixels import rgb
from effdet.preprocess import Preprocess
from effdet.weights.statistics import BATCH
from heads.structures import UserError

Images = Iterable[Any] | Callable[[], Iterable[Any]]
"""Paths, PIL images or (h, w, 3) uint8 RGB arrays of any size; or a function that gives them, called when they are needed."""
PIXELS = 16 * 320 * 320
"""Of all generated images together: about a second of a Lite0 on one core."""
_TEXTURES = 12


def calibration_batches(images: Images | None, preprocess: Preprocess) -> Iterator[Tensor]:
    """(B, 3, H, W) float32 batches on the model's canvas, normalised.

    Args:
        images: the user's; None for generated ones.

    Raises:
        UserError: there are none, or one is none of the kinds of :data:`Images`.
    """
    if images is None:
        canvases: Iterable[np.ndarray] = generated(preprocess.size)
    else:
        given = images() if callable(images) else images
        canvases = (preprocess.geometry(_array(image))[0] for image in given)
    batch: list[np.ndarray] = []
    found = False
    for canvas in canvases:
        found = True
        batch.append(canvas)
        if len(batch) == BATCH:
            yield _normalised(batch, preprocess)
            batch = []
    if batch:
        yield _normalised(batch, preprocess)
    if not found:
        raise UserError("images= gave no image that can be read; give some, or None for generated ones")


def _normalised(canvases: list[np.ndarray], preprocess: Preprocess) -> Tensor:
    return preprocess.normalise(torch.from_numpy(np.stack(canvases).transpose(0, 3, 1, 2).copy()))


def _array(image: Any) -> np.ndarray:
    if isinstance(image, (str, Path)):
        with Image.open(image) as opened:
            image = rgb(ImageOps.exif_transpose(opened))
    if isinstance(image, Image.Image):
        image = np.asarray(rgb(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f" {image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else ""
        raise UserError(
            f"images: got a {type(image).__name__}{shape}; give paths, PIL images or (h, w, 3) uint8 RGB arrays"
        )
    return image


def generated(size: tuple[int, int]) -> list[np.ndarray]:
    """Generated images of (height, width) pixels: as many as :data:`PIXELS` allow, at least 4, at most 32."""
    count = max(4, min(32, PIXELS // (size[0] * size[1])))
    rng = np.random.default_rng(0)
    side = min(max(size), 512)
    textures = [_fractal(rng, side) for _ in range(_TEXTURES)]
    images = []
    for number in range(count):
        image = _leaves(rng, side, textures) if number % 2 else _noise(rng, textures)
        images.append(np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)))
    return images


def _fractal(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side, 3) float32 of mean 0 and deviation 1, amplitude 1/f^a."""
    frequency = np.fft.fftfreq(side)
    radius = np.hypot(frequency[:, None], frequency[None])
    radius[0, 0] = 1 / side
    spectrum = np.fft.fft2(rng.standard_normal((3, side, side))) / radius ** rng.uniform(0.8, 1.6)
    spectrum[:, 0, 0] = 0
    fields = np.real(np.fft.ifft2(spectrum))
    light, warm, cold = fields / fields.std((1, 2), keepdims=True)
    colour = rng.uniform(0.05, 0.5)
    image = np.stack([light + colour * warm, light, light + colour * cold], -1)
    return (image / image.std()).astype(np.float32)


def _texture(rng: np.random.Generator, textures: list[np.ndarray]) -> np.ndarray:
    texture = textures[rng.integers(len(textures))]
    shift = tuple(int(value) for value in rng.integers(0, texture.shape[0], 2))
    texture = np.roll(texture, shift, (0, 1))  # they are periodic
    return texture if rng.random() < 0.5 else texture.transpose(1, 0, 2)


def _noise(rng: np.random.Generator, textures: list[np.ndarray]) -> np.ndarray:
    mean = (rng.uniform(60, 190, 3) + rng.uniform(60, 190)) / 2
    return _bytes(mean + rng.uniform(30, 75) * _texture(rng, textures))


def _leaves(rng: np.random.Generator, side: int, textures: list[np.ndarray]) -> np.ndarray:
    """Textured shapes on top of each other, large ones first."""
    image = Image.fromarray(_noise(rng, textures))
    sizes = np.sort(side * 0.5 * (rng.uniform(0, 1, int(rng.integers(8, 60))) ** 2 + 0.03))[::-1]
    slope_y, slope_x = (np.mgrid[0:side, 0:side] / side - 0.5).astype(np.float32)[..., None]
    for size in sizes:
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).polygon(_outline(rng, float(size), side), fill=255)
        if rng.random() < 0.5:
            mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2)))
        colour = np.clip(rng.uniform(0, 255) + rng.normal(0, 35, 3), 0, 255)
        shade = rng.normal(0, 40) * slope_x + rng.normal(0, 40) * slope_y
        pixels = colour + rng.uniform(3, 40) * _texture(rng, textures) + shade
        image.paste(Image.fromarray(_bytes(pixels)), (0, 0), mask)
    return np.asarray(image)


def _outline(rng: np.random.Generator, size: float, side: int) -> list[tuple[float, float]]:
    """Corners of an ellipse, a rectangle or a ragged shape, turned and placed anywhere."""
    flat, kind = rng.uniform(0.3, 1), rng.integers(3)
    if kind == 0:
        around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        points = np.stack([np.cos(around), flat * np.sin(around)], 1)
    elif kind == 1:
        points = np.array([(-1, -flat), (1, -flat), (1, flat), (-1, flat)])
    else:
        around = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 12))))
        reach = rng.uniform(0.4, 1, len(around))
        points = np.stack([reach * np.cos(around), reach * flat * np.sin(around)], 1)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return [(float(x), float(y)) for x, y in size * points @ turn.T + rng.uniform(0, side, 2)]


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels, 0, 255).astype(np.uint8)
