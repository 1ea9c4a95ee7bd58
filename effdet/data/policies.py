"""RandAugment (Cubuk et al. 2019), AutoAugment (Cubuk et al. 2018) and TrivialAugment (Müller and Hutter 2021).

The operations and their tables are torchvision's. Its transforms draw from torch's global generator: here that is seeded from
the sample's own, and put back, so that a sample stays a function of (seed, epoch, index).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from effdet.data.augment import AugmentSpec


class AutoAugmentation:
    """A policy on whole images; some of its operations move pixels, so boxes would not fit any more."""

    def __init__(self, transform: Callable[[Image.Image], Image.Image]) -> None:
        self._transform = transform

    @classmethod
    def of(cls, spec: AugmentSpec, *, fill: tuple[int, int, int]) -> Self | None:
        """The policy that `spec` names, or None; `fill` is the uint8 RGB colour of what moves in from outside."""
        if spec.policy is None:
            return None
        from torchvision.transforms import v2

        common: dict[str, Any] = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": list(fill)}
        match spec.policy:
            case "randaugment":
                return cls(v2.RandAugment(spec.policy_ops, round(spec.policy_magnitude), **common))
            case "autoaugment":
                return cls(v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, **common))
            case "autoaugment_cifar10":
                return cls(v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, **common))
        return cls(v2.TrivialAugmentWide(**common))

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(h, w, 3) uint8 -> the same shape and dtype, changed as `rng` says."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**62)))
            return np.asarray(self._transform(Image.fromarray(np.ascontiguousarray(pixels))))
