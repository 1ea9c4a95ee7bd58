"""Makes ``effdet/weights/calibration.jpg``: generated images on which statistics of BatchNorms are those of natural ones.

``python -m benchmarks.calibration_images --images FOLDER --out FILE efficientdet-lite0.tflite efficientdet-lite1.tflite``

The committed file was made in several such passes, Lite0 first, then both by turns: a run of this makes a file of the same
kind, not the same bytes. No pixel of the natural images is in them. Statistics of every BatchNorm are measured on the natural
images; then the pixels of noise images are optimised until the networks' BatchNorms see the same means and variances in them
(Yin et al. 2020, "DeepInversion", section 3.2, with measured in place of stored statistics).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from effdet.model import VisionModel
from effdet.weights import load_weights
from effdet.weights.api import load
from effdet.weights.statistics import COLUMNS, ROWS, SIDE

RATE, LAST_RATE = 0.05, 0.003
"""Adam's, in logits of the 0…1 pixel range, at the start and at the end."""
SMOOTH = 0.2
"""Weight of the mean absolute difference of neighbouring pixels."""
ROUNDING = 4 / 255
"""Range of the noise that stands for what JPEG loses."""


def starting_images(count: int, side: int, *, seed: int = 0) -> np.ndarray:
    """(count, 3, side, side) float32 in 0…1: amplitudes that fall as 1/f, with shapes of all sizes on top of each other."""
    rng = np.random.default_rng(seed)
    return np.stack([_leaves(rng, side) if number % 2 else _noise(rng, side) for number in range(count)])


def matching(
    networks: Sequence[VisionModel], start: np.ndarray, *, steps: int, report: bool = False
) -> tuple[np.ndarray, list[float]]:
    """Optimise images until the BatchNorms of `networks` see in them the statistics that they hold.

    Args:
        networks: in evaluation mode; one after the other takes a step.
        start: (N, 3, side, side) float32 in 0…1.

    Returns:
        Images of the same shape, and the misfit before each step.
    """
    pixels = torch.logit(torch.from_numpy(start).clamp(0.02, 0.98)).requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=RATE)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps) + LAST_RATE
        optimizer.zero_grad()
        images = torch.sigmoid(pixels)
        smooth = images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()
        misfit = _misfit(networks[step % len(networks)], images + (torch.rand_like(images) - 0.5) * ROUNDING)
        (misfit + SMOOTH * smooth).backward()
        optimizer.step()
        losses.append(float(misfit.detach()))
        if report:
            print(f"step {step}: misfit {losses[-1]:.4f}", flush=True)
    return torch.sigmoid(pixels).detach().numpy(), losses


def _misfit(network: VisionModel, images: Tensor) -> Tensor:
    """Mean over layers of the squared distance of means in deviations, and a quarter of that of the logarithms of variances."""
    terms: list[Tensor] = []

    def seen(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        requested = norm.running_var
        least = 0.01 * requested.mean() + 1e-6
        distance = ((mean - norm.running_mean).square() / (requested + least)).clamp(max=9).mean()
        terms.append(distance + 0.25 * ((variance + least) / (requested + least)).log().square().mean())

    hooks = [norm.register_forward_pre_hook(seen) for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)]
    rule = network.preprocess
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (rule.mean, rule.std))
    canvas = F.interpolate(images, size=rule.size, mode="bilinear", align_corners=False)
    try:
        network((canvas - mean) / std)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(terms).mean()


def write(images: np.ndarray, path: Path, *, quality: int = 90) -> None:
    """One JPEG of `ROWS` x `COLUMNS` tiles."""
    tiles = np.round(images.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    rows = [np.concatenate(tiles[row * COLUMNS : (row + 1) * COLUMNS], 1) for row in range(ROWS)]
    Image.fromarray(np.concatenate(rows)).save(path, "JPEG", quality=quality, subsampling=0)


def _fractal(rng: np.random.Generator, side: int) -> np.ndarray:
    """(3, side, side) of mean 0 and deviation 1, amplitude 1/f^a."""
    frequency = np.fft.fftfreq(side)
    radius = np.hypot(frequency[:, None], frequency[None])
    radius[0, 0] = 1 / side
    spectrum = np.fft.fft2(rng.standard_normal((3, side, side))) / radius ** rng.uniform(0.8, 1.6)
    spectrum[:, 0, 0] = 0
    fields = np.real(np.fft.ifft2(spectrum))
    light, warm, cold = fields / fields.std((1, 2), keepdims=True)
    colour = rng.uniform(0.05, 0.5)
    image = np.stack([light + colour * warm, light, light + colour * cold])
    return image / image.std()


def _noise(rng: np.random.Generator, side: int) -> np.ndarray:
    mean = (rng.uniform(0.25, 0.75, 3) + rng.uniform(0.25, 0.75)) / 2
    return np.clip(mean[:, None, None] + rng.uniform(0.12, 0.3) * _fractal(rng, side), 0, 1).astype(np.float32)


def _leaves(rng: np.random.Generator, side: int) -> np.ndarray:
    """ "Dead leaves" (Lee, Mumford and Huang, 2001): textured ellipses, large ones first."""
    image = _noise(rng, side)
    for size in np.sort(side * 0.5 * (rng.uniform(0, 1, int(rng.integers(8, 60))) ** 2 + 0.03))[::-1]:
        mask = Image.new("L", (side, side))
        x, y = rng.uniform(0, side, 2)
        flat = size * rng.uniform(0.3, 1)
        ImageDraw.Draw(mask).ellipse((x - size, y - flat, x + size, y + flat), fill=255)
        colour = rng.uniform(0, 1) + rng.normal(0, 0.14, 3)
        texture = np.clip(colour[:, None, None] + rng.uniform(0.01, 0.16) * _fractal(rng, side), 0, 1)
        image = np.where(np.asarray(mask) > 0, texture, image).astype(np.float32)
    return image


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", nargs="+", type=Path, help="model files; each takes a step in turn")
    parser.add_argument("--images", type=Path, required=True, help="folder of natural images (.jpg)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=160)
    chosen = parser.parse_args(arguments)
    networks = []
    for path in chosen.weights:
        network = load(path)
        load_weights(network, path, images=sorted(chosen.images.glob("*.jpg")))
        networks.append(network.eval().requires_grad_(False))
    torch.manual_seed(0)
    images, _ = matching(networks, starting_images(ROWS * COLUMNS, SIDE), steps=chosen.steps, report=True)
    write(images, chosen.out)


if __name__ == "__main__":
    main()
