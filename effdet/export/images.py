"""Images to compare and to calibrate on, laid on the model's canvas."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from effdet.preprocess import Preprocess


def canvases(images: Iterable[np.ndarray], preprocess: Preprocess) -> Tensor:
    """(h, w, 3) uint8 images of any size -> (N, 3, H, W) uint8, by the model's own geometry."""
    laid = [preprocess.geometry(image)[0] for image in images]
    return torch.from_numpy(np.stack(laid)).permute(0, 3, 1, 2).contiguous()


def street_images(count: int) -> Iterable[np.ndarray]:
    """Generated street scenes (512 × 512), for where the user has given no images."""
    from effdet import streets

    return (streets.scene(0, "val", index, 512).image for index in range(count))


def spread(total: int, count: int) -> list[int]:
    """`count` indices spread evenly over `total`: sets are often sorted by place or time."""
    count = min(count, total)
    return [index * total // count for index in range(count)]
