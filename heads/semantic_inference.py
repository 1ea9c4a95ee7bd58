"""From logits to a class for each pixel of the original image; windows over a large canvas, mirror images, several scales.

The logits lie on a coarse grid over the input canvas. They are interpolated once, straight to the original's pixels, and
the largest is taken there. (Taking it on the canvas and copying nearest pixels would draw the edges of every small
image in steps, and lose what is thinner than a canvas pixel of a large one.) An image is done in strips of rows, so
that 4K with 19 classes needs megabytes.

The slower ways average class probabilities on the grid of the logits, so that nothing is held at the size of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.fields import check_fields
from heads.structures import Geometry, UserError

Forward = Callable[[Tensor], Tensor]
"""Normalised images (B, 3, H, W) -> logits (B, K, H / stride, W / stride)."""
STRIP = {"cpu": 2**17, "other": 2**24}
"""Interpolated scores that are held at once, by device: what a CPU's cache holds, 64 MiB of float32 elsewhere."""
OUTSIDE = 255
"""Class of pixels that the canvas did not hold (cropped away)."""
GRAIN = 32
"""Scaled inputs have sides of a multiple of this, in pixels: the backbone's last stride."""


@dataclass(frozen=True)
class SemanticInference:
    """How segmentation maps are found. The defaults are one pass over the whole canvas."""

    window: tuple[int, int] | None = None
    """(height, width) in pixels of windows that slide over the canvas; None takes it whole."""
    overlap: Annotated[float, "0..0.95"] = 0.33
    """Least share of a window's side that overlaps the next window."""
    flip: bool = False
    """true also predicts on the mirror image; the padding of the canvas is not mirrored."""
    scales: tuple[Annotated[float, "0.05..16"], ...] = (1.0,)
    """Sizes of the input whose results are averaged, such as [0.75, 1.0, 1.25]: more accurate, and slower with each."""

    def __post_init__(self) -> None:
        if self.window is not None:
            object.__setattr__(self, "window", tuple(self.window))
            if len(self.window) != 2 or min(self.window) < GRAIN:
                raise UserError(f"semantic.sliding={list(self.window)} must be a height and a width of {GRAIN} or more")
        object.__setattr__(self, "scales", tuple(self.scales))
        check_fields(self, "semantic.")
        if not self.scales:
            raise UserError("semantic.scales=[] must be one or more numbers above 0")

    @property
    def plain(self) -> bool:
        """One pass over the whole canvas, whose logits are there already."""
        return self.window is None and not self.flip and self.scales == (1.0,)


def probabilities(
    forward: Forward, images: Tensor, how: SemanticInference, *, columns: Sequence[tuple[float, float]] | None = None
) -> Tensor:
    """(B, K, h, w) float32 mean probabilities, h and w those of the largest scale's logits.

    Args:
        forward: the network, up to the logits.
        images: (B, 3, H, W) normalised.
        how: what is averaged.
        columns: first and last column (excluded) of each image on the canvas, in pixels; the rest is padding. Only the image
            is mirrored: its padding stays where it is, as the network knows it from training. None: there is no padding.
    """
    total: Tensor | None = None
    passes = 0
    padded = columns is not None and any((left, right) != (0, images.shape[3]) for left, right in columns)
    span = images.new_tensor(columns, dtype=torch.float64) if padded else None  # (B, 2)
    versions = [(images, False), (_mirrored(images, span), True)][: 1 + how.flip]
    for scale in sorted(how.scales, reverse=True):
        for version, mirrored in versions:
            found = _sliding(forward, _scaled(version, scale), how)
            found = _mirrored_back(found, span, images.shape[3]) if mirrored else found
            if total is None:
                total = found
            else:
                total = total + F.interpolate(found, size=total.shape[2:], mode="bilinear", align_corners=False)
            passes += 1
    assert total is not None
    return total / passes


def _mirrored(images: Tensor, span: Tensor | None) -> Tensor:
    """(B, 3, H, W) with the columns of `span` (B, 2) in reverse order, and the others as they are; None reverses all."""
    if span is None:
        return images.flip(3)
    left, right = (values[:, None] for values in span.round().long().unbind(1))  # (B, 1) each
    column = torch.arange(images.shape[3], device=images.device)[None]
    source = torch.where((column >= left) & (column < right), left + right - 1 - column, column)  # (B, W)
    return images.gather(3, source[:, None, None].expand(images.shape))


def _mirrored_back(found: Tensor, span: Tensor | None, width: int) -> Tensor:
    """(B, K, h, w) of mirrored images, each cell from its place in the mirror; `span` is in pixels of `width` columns.

    An image whose columns are not a multiple of the stride has its cells between two cells of the mirror: these are mixed.
    """
    if span is None:
        return found.flip(3)
    cells = found.shape[3]
    left, right = (values[:, None] * (cells / width) for values in span.unbind(1))  # (B, 1) each, in cells
    centre = torch.arange(cells, device=found.device, dtype=torch.float64)[None] + 0.5
    inside = (centre >= left) & (centre < right)
    source = (torch.where(inside, left + right - centre, centre) - 0.5).clamp(0, cells - 1)  # (B, w)
    lower = source.floor().long()
    share = (source - lower).to(found.dtype)[:, None, None]
    lower = lower[:, None, None].expand(found.shape)
    return found.gather(3, lower).lerp(found.gather(3, (lower + 1).clamp(max=cells - 1)), share.expand(found.shape))


def _scaled(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images
    height, width = (max(GRAIN, GRAIN * round(side * scale / GRAIN)) for side in images.shape[2:])
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=scale < 1)


def _sliding(forward: Forward, images: Tensor, how: SemanticInference) -> Tensor:
    """Mean probabilities of all windows over `images`; those of one pass where they fit into one."""
    height, width = images.shape[2:]
    if how.window is None or (how.window[0] >= height and how.window[1] >= width):
        return forward(images).float().softmax(1)
    window = (min(how.window[0], height), min(how.window[1], width))
    total = weight = torch.zeros(())
    for top in _starts(height, window[0], how.overlap):
        for left in _starts(width, window[1], how.overlap):
            part = images[:, :, top : top + window[0], left : left + window[1]]
            found = forward(part).float().softmax(1)
            stride = round(window[0] / found.shape[2])
            if any(side % stride for side in (height, width, *window)):
                raise UserError(
                    f"semantic.sliding={list(window)} over {height}×{width} pixels: all four must be multiples of "
                    f"{stride}, the stride of the segmentation map"
                )
            if total.ndim == 0:
                total = found.new_zeros(*found.shape[:2], height // stride, width // stride)
                weight = found.new_zeros(height // stride, width // stride)
            rows = slice(top // stride, top // stride + found.shape[2])
            columns = slice(left // stride, left // stride + found.shape[3])
            total[:, :, rows, columns] += found
            weight[rows, columns] += 1
    return total / weight


def _starts(length: int, window: int, overlap: float) -> Iterator[int]:
    """First pixels of windows that cover `length`, evenly spaced, on multiples of `GRAIN` but for the last."""
    step = max(GRAIN, int(window * (1 - overlap)) // GRAIN * GRAIN)
    yield from range(0, length - window, step)
    yield length - window


def class_map(scores: Tensor, geometry: Geometry) -> Tensor:
    """(K, h, w) logits or probabilities over the canvas -> (H, W) uint8 classes in original pixels, on the same device.

    The result on the canvas's own pixels is that of ``geometry = Geometry(size, size)``. Equals bilinear interpolation
    between the cells' centres, with the border's values beyond the outermost centres.
    """
    count, height, width = scores.shape
    (rows, inside_rows), (columns, inside_columns) = (
        _centres(axis, (height, width)[axis], geometry, scores.device) for axis in (0, 1)
    )
    scores = _interpolated(scores.float(), columns, axis=2)  # (K, h, W)
    strip = max(1, STRIP["cpu" if scores.device.type == "cpu" else "other"] // (count * len(columns)))
    # `max` finds the place too, and on a CPU in a third of `argmax`'s time.
    strips = [_interpolated(scores, part, axis=1).max(0).indices.to(torch.uint8) for part in rows.split(strip)]
    classes = torch.cat(strips)
    return torch.where(inside_rows[:, None] & inside_columns[None, :], classes, OUTSIDE)


def _centres(axis: int, cells: int, geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
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
