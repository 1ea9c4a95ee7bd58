"""Anchors: the boxes of fixed shape that a detector's every output is relative to (EfficientDet section 5.1).

Every cell of every level carries ``scales_per_octave * len(aspects)`` anchors, centred on the cell. Their sizes follow the true
stride ``image / feature`` (a fraction where the image is not a multiple of it), so that any image size works.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from heads.fields import check_fields
from heads.structures import UserError

Size = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True)
class AnchorSpec:
    """The shapes of one cell's anchors: ``scale * stride * 2**(octave / scales_per_octave) * aspect``, octave by octave."""

    scale: Annotated[float, "0.1..100"] | tuple[Annotated[float, "0.1..100"], ...] = 4.0
    """Side of the smallest square anchor in strides: 4, but 5 for D7 and 3 for Lite0-2 and 3x. A list gives one a level.
    Smaller for small objects (`doctor` reports the coverage)."""
    scales_per_octave: Annotated[int, "1..8"] = 3
    """Sizes between one level and the next: 2**0, 2**(1/3), 2**(2/3)."""
    aspects: tuple[float | tuple[float, float], ...] = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
    """Width and height factors; a bare number r means (sqrt(r), 1 / sqrt(r)), as in the V2 detectors."""

    def __post_init__(self) -> None:
        # Lists come in from YAML and JSON; tuples keep the spec hashable.
        if isinstance(self.scale, Sequence):
            object.__setattr__(self, "scale", tuple(float(scale) for scale in self.scale))
        aspects = tuple(
            (float(aspect[0]), float(aspect[1])) if isinstance(aspect, Sequence) else float(aspect)
            for aspect in self.aspects
        )
        object.__setattr__(self, "aspects", aspects)
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if not scales:
            raise UserError(f"anchors.scale={list(scales)} must hold a number for each level: the paper has 4.0")
        check_fields(self, "anchors.")
        if not aspects or any(min(pair) <= 0 for pair in self.factors):
            raise UserError(f"anchor aspects must be numbers above 0, or pairs of such, got {self.aspects}")

    @property
    def per_cell(self) -> int:
        """Anchors in one cell."""
        return self.scales_per_octave * len(self.aspects)

    @property
    def factors(self) -> tuple[tuple[float, float], ...]:
        """The aspects as (width factor, height factor)."""
        pairs = []
        for aspect in self.aspects:
            pairs.append(aspect if isinstance(aspect, tuple) else (math.sqrt(aspect), 1.0 / math.sqrt(aspect)))
        return tuple(pairs)

    def scale_of(self, level: int, levels: int) -> float:
        """The scale of the `level`-th of `levels` levels, counted from the finest."""
        if not isinstance(self.scale, tuple):
            return float(self.scale)
        if len(self.scale) != levels:
            raise UserError(
                f"anchor scale {self.scale} has {len(self.scale)} values for {levels} levels: give one number, or one a level"
            )
        return self.scale[level]


def anchors(
    feature_sizes: Sequence[Size], image_size: Size, spec: AnchorSpec, device: torch.device | str = "cpu"
) -> Tensor:
    """All anchors of an image: (A, 4) float32 xyxy in input pixels, not clipped to the image.

    Order: level by level, row by row, cell by cell; within a cell octave by octave, and within an octave aspect by aspect.
    The same arguments give the same tensor object: do not write into it.

    Args:
        feature_sizes: (height, width) of each level, finest first.
        image_size: (height, width) of the network input.
    """
    if torch.compiler.is_compiling() and any(isinstance(side, torch.SymInt) for size in feature_sizes for side in size):
        return _traced(feature_sizes, image_size, spec, device)
    sizes = tuple((int(height), int(width)) for height, width in feature_sizes)
    image = (int(image_size[0]), int(image_size[1]))
    if torch.compiler.is_compiling():
        # A tensor made while a graph is recorded belongs to the recorder: it may become a constant, but not stay in the cache.
        return torch.from_numpy(_grid(sizes, image, spec)).to(device)
    return _cached(sizes, image, spec, torch.device(device))


@lru_cache(maxsize=64)  # a multi-scale run has a few dozen sizes, of about 1 MB each
def _cached(sizes: tuple[Size, ...], image: Size, spec: AnchorSpec, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # made during validation, it must still serve the next training step
        return torch.from_numpy(_grid(sizes, image, spec)).to(device)


def _grid(sizes: tuple[Size, ...], image: Size, spec: AnchorSpec) -> np.ndarray:
    return np.concatenate(
        [_level(size, image, spec, spec.scale_of(level, len(sizes))) for level, size in enumerate(sizes)]
    )


def _traced(sizes: Sequence[Size], image: Size, spec: AnchorSpec, device: torch.device | str) -> Tensor:
    """The same anchors as tensor operations, for an exported graph that has to serve every size."""
    levels = []
    for level, (height, width) in enumerate(sizes):
        # A fraction of two symbolic sizes, taken between tensors: exporters know no symbolic fractions.
        rows = torch.arange(height, dtype=torch.float64, device=device)
        columns = torch.arange(width, dtype=torch.float64, device=device)
        stride_y = torch.full((1,), image[0], dtype=torch.float64, device=device) / rows.shape[0]
        stride_x = torch.full((1,), image[1], dtype=torch.float64, device=device) / columns.shape[0]
        shapes = [
            (2 ** (octave / spec.scales_per_octave) * spec.scale_of(level, len(sizes)) * x,
             2 ** (octave / spec.scales_per_octave) * spec.scale_of(level, len(sizes)) * y)
            for octave in range(spec.scales_per_octave)
            for x, y in spec.factors
        ]  # fmt: skip
        half = torch.tensor(shapes, dtype=torch.float64, device=device) / 2 * torch.cat([stride_x, stride_y])
        centre_y, centre_x = torch.broadcast_tensors(
            ((rows + 0.5) * stride_y)[:, None, None], ((columns + 0.5) * stride_x)[None, :, None]
        )
        centres = torch.stack([centre_x, centre_y], dim=-1)  # (height, width, 1, 2)
        boxes = torch.cat([centres - half, centres + half], dim=-1)  # (height, width, per_cell, 4)
        levels.append(boxes.reshape(-1, 4).float())
    return torch.cat(levels)


def _level(size: Size, image: Size, spec: AnchorSpec, scale: float) -> np.ndarray:
    """(height * width * per_cell, 4) float32 xyxy. Computed in float64 and rounded once, as the reference does."""
    (height, width), stride_y, stride_x = size, image[0] / size[0], image[1] / size[1]
    shapes = np.array(
        [
            (
                scale * stride_x * 2 ** (octave / spec.scales_per_octave) * x,
                scale * stride_y * 2 ** (octave / spec.scales_per_octave) * y,
            )
            for octave in range(spec.scales_per_octave)
            for x, y in spec.factors
        ]
    )  # (per_cell, 2) width, height
    centre_x = stride_x / 2 + np.arange(width) * stride_x
    centre_y = stride_y / 2 + np.arange(height) * stride_y
    centres = np.stack(np.meshgrid(centre_x, centre_y), axis=-1)[:, :, None]  # (height, width, 1, 2) x, y
    boxes = np.concatenate([centres - shapes / 2, centres + shapes / 2], axis=-1)  # (height, width, per_cell, 4)
    return boxes.reshape(-1, 4).astype(np.float32)
