"""One batch of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from heads.structures import Geometry


@dataclass(frozen=True)
class EvalBatch:
    """Images on the network's canvas, with what brings predictions back and what they are evaluated by."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB, the input canvas."""
    geometries: tuple[Geometry, ...]
    """How each image lies on the canvas."""
    records: tuple[Any, ...]
    """The :class:`effdet.data.records.Record` of each image: boxes and labels in original pixels, size, names; of masks the
    path, see `masks`."""
    indices: tuple[int, ...]
    """Position of each image in its set."""
    masks: tuple[np.ndarray | None, ...] = ()
    """(height, width) uint8 true segmentation map of each image in its own pixels, or None."""
    instances: tuple[np.ndarray | None, ...] = ()
    """(height, width) int32 true objects of each image, ``1000 · (class + 1) + number`` and 0 elsewhere, or None."""

    def __len__(self) -> int:
        return self.images.shape[0]

    def pin_memory(self) -> Self:
        """Called by the loader, so that the copy to the device need not wait."""
        return replace(self, images=self.images.pin_memory())

    @classmethod
    def of(cls, samples: Sequence[tuple[int, Any]]) -> Self:
        """Collate ``(index in the set, sample)`` pairs.

        A sample has `image` (3, H, W) uint8, `geometry`, `record` and, where segmentation maps are evaluated, `mask` and
        perhaps `instances`.
        """
        # Images are (3, H, W) views of (H, W, 3) memory: stacked in the order of the memory, they stay channels last.
        canvases = np.stack([np.asarray(sample.image).transpose(1, 2, 0) for _, sample in samples])
        return cls(
            images=torch.from_numpy(canvases).permute(0, 3, 1, 2),  # (B, H, W, 3) -> (B, 3, H, W), a view
            geometries=tuple(sample.geometry for _, sample in samples),
            records=tuple(sample.record for _, sample in samples),
            indices=tuple(index for index, _ in samples),
            masks=tuple(getattr(sample, "mask", None) for _, sample in samples),
            instances=tuple(getattr(sample, "instances", None) for _, sample in samples),
        )
