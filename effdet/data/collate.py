"""Samples -> a batch: uint8 throughout, boxes padded to the fullest image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

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
