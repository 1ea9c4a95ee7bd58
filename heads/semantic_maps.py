"""From logits to a class for each pixel of the original image.

The logits lie on a coarse grid over the input canvas. They are interpolated once, straight to the original's pixels, and
the largest is taken there. (Taking it on the canvas and copying nearest pixels would draw the edges of every small
image in steps, and lose what is thinner than a canvas pixel of a large one.) An image is done in strips of rows, so
that 4K with 19 classes needs megabytes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from heads.structures import Geometry

STRIP = {"cpu": 2**17, "other": 2**24}
"""Interpolated scores that are held at once, by device: what a CPU's cache holds, 64 MiB of float32 elsewhere."""
OUTSIDE = 255
"""Class of pixels that the canvas did not hold (cropped away)."""


def class_map(scores: Tensor, geometry: Geometry) -> Tensor:
    """(K, h, w) logits or probabilities over the canvas -> (H, W) uint8 classes in original pixels, on the same device.

    The result on the canvas's own pixels is that of ``geometry = Geometry(size, size)``. Equals bilinear interpolation
    between the cells' centres, with the border's values beyond the outermost centres.
    """
    count, height, width = scores.shape
    (rows, inside_rows), (columns, inside_columns) = (
        _cells(axis, (height, width)[axis], geometry, scores.device) for axis in (0, 1)
    )
    scores = _interpolated(scores.float(), columns, axis=2)  # (K, h, W)
    strip = max(1, STRIP["cpu" if scores.device.type == "cpu" else "other"] // (count * len(columns)))
    # `max` finds the place too, and on a CPU in a third of `argmax`'s time.
    strips = [_interpolated(scores, part, axis=1).max(0).indices.to(torch.uint8) for part in rows.split(strip)]
    classes = torch.cat(strips)
    return torch.where(inside_rows[:, None] & inside_columns[None, :], classes, OUTSIDE)


def _cells(axis: int, cells: int, geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each original pixel along `axis`: (its centre in units of cells, float64) and whether the canvas holds it."""
    pixels = torch.arange(geometry.original[axis], device=device, dtype=torch.float32) + 0.5
    on_canvas = pixels * geometry.scale[axis] + geometry.offset[axis]
    inside = (on_canvas >= 0) & (on_canvas <= geometry.canvas[axis])
    return on_canvas * (cells / geometry.canvas[axis]) - 0.5, inside


def _interpolated(scores: Tensor, positions: Tensor, *, axis: int) -> Tensor:
    """`scores` (K, h, w) at `positions` (n,) along `axis`."""
    last = scores.shape[axis] - 1
    positions = positions.clamp(0, last)
    lower = positions.long()
    share = (positions - lower).view((-1, 1) if axis == 1 else (-1,))
    below, above = scores.index_select(axis, lower), scores.index_select(axis, (lower + 1).clamp(max=last))
    return torch.lerp(below, above, share)
