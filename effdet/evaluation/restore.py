"""From input pixels back to original pixels, a whole batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from heads.structures import Detections, Geometry


def restore_detections(detections: Detections, geometries: Sequence[Geometry]) -> Detections:
    """Boxes in input pixels -> original pixels, clipped to each image.

    Boxes that lie wholly outside the image (in the padding) are dropped; the order by score stays. Runs on the device
    of `detections`, without a loop over images.
    """
    device = detections.boxes.device
    frames = [(*g.offset[::-1] * 2, *g.scale[::-1] * 2, *g.original[::-1] * 2) for g in geometries]  # x, y, x, y each
    offset, scale, size = torch.tensor(frames, dtype=torch.float32, device=device).reshape(-1, 3, 1, 4).unbind(1)
    boxes = torch.minimum(((detections.boxes.float() - offset) / scale).clamp_(min=0), size)
    real = torch.arange(boxes.shape[1], device=device) < detections.counts[:, None]
    real &= (boxes[..., 2:] > boxes[..., :2]).all(-1)  # (B, N)
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)
    real = real.gather(1, order)
    return Detections(
        boxes=boxes.gather(1, order[..., None].expand(-1, -1, 4)) * real[..., None],
        scores=detections.scores.gather(1, order) * real,
        labels=detections.labels.gather(1, order).masked_fill(~real, -1),
        counts=real.sum(1),
        capped=detections.capped,
    )


def restore_heat(maps: Tensor, geometries: Sequence[Geometry]) -> list[np.ndarray]:
    """Maps of numbers in the images' own sizes, resampled bilinearly.

    Args:
        maps: (B, h, w) float, of any size that covers the canvas.
        geometries: one an image.

    Returns:
        (height, width) float32 for each image.
    """
    pairs = zip(maps, geometries, strict=True)
    return [torch.cat([*_strips(values[None], geometry, 512)], dim=1)[0].cpu().numpy() for values, geometry in pairs]


def _strips(scores: Tensor, geometry: Geometry, rows_at_once: int) -> Iterator[Tensor]:
    """(K, h, w) -> (K, rows, W) float32 strips of the original image, from the top."""
    height, width = geometry.original
    y = _normalised(height, geometry.scale[0], geometry.offset[0], geometry.canvas[0], scores.device)
    x = _normalised(width, geometry.scale[1], geometry.offset[1], geometry.canvas[1], scores.device)
    for strip in y.split(rows_at_once):
        grid = torch.stack(torch.broadcast_tensors(x[None, :], strip[:, None]), dim=-1)[None]  # (1, rows, W, [x, y])
        yield F.grid_sample(scores[None].float(), grid, padding_mode="border", align_corners=False)[0]


def _normalised(length: int, scale: float, offset: float, canvas: int, device: torch.device) -> Tensor:
    """Centres of original pixels in `grid_sample`'s frame, where -1…1 spans the canvas."""
    centres = (torch.arange(length, device=device, dtype=torch.float32) + 0.5) * scale + offset
    return centres * (2 / canvas) - 1
