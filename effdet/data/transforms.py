"""Changes of pixels by libraries: colour and sharpness, policies of the literature, and the user's own transforms.

* :class:`Photometric`: albumentations, for the presets; nothing moves.
* :class:`AutoAugmentation`: RandAugment (Cubuk et al. 2019), AutoAugment (Cubuk et al. 2018) and TrivialAugment (Müller and
  Hutter 2021), whose operations and tables are torchvision's.
* :class:`Transforms`: ``augment.transforms=[{_target_: albumentations.RandomRain, p: 0.2}]``. They see the image after the
  crop, flip and colour of the preset, with its boxes and mask carried along, and must keep its size.

Every generator that they may draw from (their own, ``random``, NumPy's and PyTorch's global ones) is set from the sample's
and put back, so that a sample stays a function of (seed, epoch, index). Albumentations takes four seconds to import, so it
is imported on first use.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from effdet.data.augment import AugmentSpec
from effdet.data.checks import DataError
from effdet.data.records import IGNORED
from effdet.plugins import TARGET, accepts, check_all, instantiate, is_target


class Transforms:
    """Applies transforms to an image and what is labelled in it.

    Args:
        configs: each with a ``_target_``; a class of ``albumentations.BasicTransform`` or ``BaseCompose``.
        min_visibility: a box of which a smaller share is left is dropped.
        min_box_size: a box with a side below this many pixels is dropped.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]], *, min_visibility: float, min_box_size: float) -> None:
        import_albumentations()
        import albumentations as A

        transforms = [instantiate(_ignoring(config)) for config in configs]
        for config, transform in zip(configs, transforms, strict=True):
            if not isinstance(transform, A.BasicTransform | A.BaseCompose):
                raise DataError(f"augment.transforms: {config[TARGET]} is not a transform of albumentations")
        self.moves = any(not isinstance(leaf, A.ImageOnlyTransform) for leaf in _leaves(transforms))
        """Whether boxes and masks may change; else they are left exactly as they are."""
        boxes = A.BboxParams(
            format="pascal_voc",
            label_fields=["rows"],
            min_visibility=min_visibility,
            min_width=min_box_size,
            min_height=min_box_size,
            clip=True,
        )
        self._compose = A.Compose(transforms, bbox_params=boxes if self.moves else None)

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """
        Args:
            image: (h, w, 3) uint8 RGB.
            boxes: (N, 4) float32 xyxy, pixels of `image`.
            mask: (h, w) uint8, or None.
            rng: the sample's generator.

        Returns:
            The image and the boxes, likewise; (M,) int64 the row in `boxes` that each box had; and the mask.
        """
        passed: dict[str, Any] = {"image": np.ascontiguousarray(image)}
        if self.moves:
            passed |= {"bboxes": boxes, "rows": np.arange(len(boxes))}
            passed |= {} if mask is None else {"mask": np.ascontiguousarray(mask)}
        with seeded(rng):
            self._compose.set_random_state(rng, random.Random(int(rng.integers(2**62))))
            found = self._compose(**passed)
        if found["image"].shape != image.shape or found["image"].dtype != image.dtype:
            shapes = f"{found['image'].shape} {found['image'].dtype} of {image.shape} {image.dtype}"
            raise DataError(
                f"augment.transforms: they made {shapes}; size and type must stay, image_size sets the size"
            )
        if not self.moves:
            return found["image"], boxes, np.arange(len(boxes)), mask
        rows = np.asarray(found["rows"], np.int64)
        return found["image"], np.asarray(found["bboxes"], np.float32).reshape(-1, 4), rows, found.get("mask")


def check_transforms(configs: Sequence[Mapping[str, Any]] | None) -> None:
    """Import the targets of `configs` and compare their signatures with the arguments given; nothing is called."""
    if configs:
        import_albumentations()
        check_all(list(configs))


def import_albumentations() -> None:
    """Keeps the library from asking its host for news at import."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Within the block the global generators of ``random``, NumPy and PyTorch are set from `rng`; then they are put back."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(int(rng.integers(2**62)))
            np.random.seed(int(rng.integers(2**32)))
            torch.default_generator.manual_seed(int(rng.integers(2**62)))
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _ignoring(value: Any) -> Any:
    """`value` with masks filled by "ignored", where a transform moves something in from outside and nothing else is said."""
    if isinstance(value, list | tuple):
        return [_ignoring(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    fill = {"fill_mask": IGNORED} if is_target(value) and accepts(value, "fill_mask") else {}
    return {key: _ignoring(item) for key, item in value.items()} | fill


def _leaves(transforms: Sequence[Any]) -> Iterator[Any]:
    for transform in transforms:
        inner = getattr(transform, "transforms", None)
        if isinstance(inner, list | tuple):
            yield from _leaves(inner)
        else:
            yield transform


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
