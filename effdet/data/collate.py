"""Samples -> a batch, mixed or not: uint8 throughout, boxes padded to the fullest image.

Mixup (Zhang et al. 2017) and cutmix (Yun et al. 2019): two images of a batch become one, and so do their classes. A batch is
mixed with itself turned by one place; one share (or one rectangle) holds for the whole batch, as in the papers' code. What
is drawn is a function of (seed, epoch, the batch's first sample), so workers and interruptions change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from effdet.data.augment import AugmentSpec
from effdet.data.rng import generator
from effdet.data.train_set import Sample
from heads.structures import Batch, Targets


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples of one canvas size.

    Returns:
        A batch whose images are (B, 3, H, W) uint8 in ``channels_last`` memory, and whose targets have (B, M) rows, M
        being the most boxes of an image (it may be 0). `has_boxes` is always set; `semantic` and `category` if all
        samples have them.
    """
    most = max(len(sample.labels) for sample in samples)
    boxes = np.zeros((len(samples), most, 4), np.float32)
    labels = np.full((len(samples), most), -1, np.int64)
    for row, sample in enumerate(samples):
        boxes[row, : len(sample.labels)] = sample.boxes
        labels[row, : len(sample.labels)] = sample.labels
    masks = [sample.semantic for sample in samples if sample.semantic is not None]
    categories = [sample.category for sample in samples if sample.category is not None]
    targets = Targets(
        boxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels),
        semantic=torch.from_numpy(np.stack(masks)) if len(masks) == len(samples) else None,
        category=torch.tensor(categories) if len(categories) == len(samples) else None,
        has_boxes=torch.tensor([sample.has_boxes for sample in samples]),
    )
    indices = torch.tensor([sample.index for sample in samples])
    return Batch(stack_images([sample.image for sample in samples]), targets, indices)


def stack_images(images: Sequence[np.ndarray]) -> Tensor:
    """(H, W, 3) uint8 images -> (B, 3, H, W) uint8 that lies in memory as (B, H, W, 3)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


class MixCollate:
    """Collates, and mixes what it collated.

    Args:
        augment: the settings of an epoch; `mixup`, `cutmix` and `mix` count.
        classes: number K of classes.
        seed: of the draws.
    """

    def __init__(self, augment: Callable[[int], AugmentSpec], *, classes: int, seed: int) -> None:
        self.augment, self.classes, self.seed = augment, classes, seed

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """A batch whose targets' `category` is (B, K) float32 in every epoch; rows of unread images are zero."""
        batch = collate(samples)
        category = batch.targets.category
        assert category is not None, "TrainSet admits mixing only for sets of whole images"
        epoch, *rest = samples[0].key
        images, weights = mixed(
            batch.images,
            one_hot(category, self.classes),
            self.augment(epoch),
            generator(self.seed, "mix", epoch, *rest),
        )
        return replace(batch, images=images, targets=replace(batch.targets, category=weights))


def one_hot(category: Tensor, classes: int) -> Tensor:
    """(B,) int64 -> (B, K) float32; a row of zeros for -1."""
    return F.one_hot(category.clamp(min=0), classes).float() * (category >= 0).float()[:, None]


def mixed(images: Tensor, weights: Tensor, augment: AugmentSpec, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One mixed batch.

    Args:
        images: (B, 3, H, W) uint8.
        weights: (B, K) float32 class weights.
        augment: alphas and probability.
        rng: of this batch.

    Returns:
        The same shapes and types; the classes' weights are those of the pixels. An image without class (a row of zeros)
        and its partner stay as they are: what is in half of the pixels would be unknown.
    """
    kinds = [name for name in ("mixup", "cutmix") if getattr(augment, name) > 0]
    if not kinds or rng.random() >= augment.mix:
        return images, weights
    kind = kinds[int(rng.integers(len(kinds)))]
    share = float(rng.beta(getattr(augment, kind), getattr(augment, kind)))
    before, other = images, images.roll(1, 0)
    if kind == "mixup":
        blend = images.float().mul_(share).add_(other.float(), alpha=1 - share)
        images = blend.round_().to(torch.uint8)
    else:
        top, left, bottom, right = rectangle(images.shape[2], images.shape[3], 1 - share, rng)
        images = images.clone()  # keeps the memory format
        images[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    known = weights.any(1)
    both = known & known.roll(1, 0)
    blended = weights * share + weights.roll(1, 0) * (1 - share)
    if not both.all():
        images = torch.where(both[:, None, None, None], images, before)
        blended = torch.where(both[:, None], blended, weights)
    return images, blended


def rectangle(height: int, width: int, area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """top, left, bottom, right of a rectangle of the image's aspect around a random pixel, cut off at the border.

    Args:
        height, width: of the image, pixels.
        area: share of the image, before it is cut off.
        rng: draws the centre.
    """
    half_y, half_x = height * math.sqrt(area) / 2, width * math.sqrt(area) / 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    rows = (max(0, round(y - half_y)), min(height, round(y + half_y)))
    columns = (max(0, round(x - half_x)), min(width, round(x + half_x)))
    return rows[0], columns[0], rows[1], columns[1]
