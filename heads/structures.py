"""The data structures that packages exchange: targets, detections, batches, the geometry of one image, class tables.

Frames. "Input pixels" are pixels of the network's input canvas (after resize and padding); "original pixels" are those of
the image as stored, after its EXIF rotation. Boxes are always float32 ``(x1, y1, x2, y2)``; class labels are contiguous
``0 … K-1`` and ``-1`` marks padding. A set's own ids live only in :class:`ClassTable` and in files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from heads.errors import UserError as UserError


class _Movable:
    """Moves every tensor field of a dataclass at once."""

    def _map(self, function) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        moved = {
            name: function(value) if isinstance(value, (Tensor, _Movable)) else value for name, value in values.items()
        }
        return replace(self, **moved)  # type: ignore[type-var]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self._map(lambda value: value.pin_memory())


@dataclass(frozen=True)
class ClassTable:
    """For each logit its name and its owner's id; ``None`` where a logit stands for nothing.

    Public COCO detectors have 90 logits for 80 classes: the ten others have neither name nor id, and never detect.
    """

    names: tuple[str | None, ...]
    ids: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.ids):
            raise UserError(
                f"a class table needs an id for each name, got {len(self.names)} names, {len(self.ids)} ids"
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, names: Sequence[str], *, first_id: int = 1) -> Self:
        """A table of `names` whose own ids count up from `first_id`."""
        return cls(tuple(names), tuple(range(first_id, first_id + len(names))))

    @classmethod
    def unnamed(cls, count: int) -> Self:
        """A table of `count` classes called ``class_0``, ``class_1``, … with ids from 0."""
        return cls(tuple(f"class_{index}" for index in range(count)), tuple(range(count)))

    @property
    def named(self) -> tuple[bool, ...]:
        return tuple(name is not None for name in self.names)

    def to_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "ids": list(self.ids)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(tuple(values["names"]), tuple(values["ids"]))


@dataclass(frozen=True)
class Targets(_Movable):
    """What a batch is to be trained on. Fields of tasks that the data does not label are ``None``."""

    boxes: Tensor | None = None
    """(B, M, 4) float32 xyxy in input pixels; rows past an image's last box are zero."""
    labels: Tensor | None = None
    """(B, M) int64 in 0…K-1, or -1 for a padding row."""
    semantic: Tensor | None = None
    """(B, H, W) uint8 segmentation map in input pixels, 255 where ignored (an image without a mask is 255 throughout)."""
    category: Tensor | None = None
    """(B,) int64 class of the image, or (B, K) float32 class weights after mixing."""
    has_boxes: Tensor | None = None
    """(B,) bool: False for images of a set that labels no boxes (they add no detection loss). None means all True."""


@dataclass(frozen=True)
class Batch(_Movable):
    """One training batch as it crosses process and device borders."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB."""
    targets: Targets
    indices: Tensor
    """(B,) int64 position of each sample in its set, for the log and for replay."""

    def __len__(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True)
class Detections(_Movable):
    """Boxes found, padded to the longest image of the batch and sorted by falling score within each image."""

    boxes: Tensor
    """(B, N, 4) float32 xyxy; the frame is that of the function that returned them."""
    scores: Tensor
    """(B, N) float32 in 0…1; 0 in padding rows."""
    labels: Tensor
    """(B, N) int64 in 0…K-1; -1 in padding rows."""
    counts: Tensor
    """(B,) int64 number of real rows of each image."""
    capped: Tensor | None = None
    """(B,) bool: True where a cap (candidates or detections) cut something off."""

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def image(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """``(boxes (n, 4), scores (n,), labels (n,))`` of one image, without the padding."""
        count = int(self.counts[index])
        return self.boxes[index, :count], self.scores[index, :count], self.labels[index, :count]


@dataclass(frozen=True)
class Geometry:
    """How one image was laid on the input canvas: ``canvas = original * scale + offset``, in pixels, (y, x) order."""

    original: tuple[int, int]
    """(height, width) of the image."""
    canvas: tuple[int, int]
    """(height, width) of the network input."""
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def to_canvas(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) float32 xyxy in original pixels -> the same boxes in input pixels. Nothing is clipped."""
        scale, offset = self._xyxy()
        return (np.asarray(boxes, np.float32).reshape(-1, 4) * scale + offset).astype(np.float32)

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) float32 xyxy in input pixels -> original pixels, clipped to the image."""
        scale, offset = self._xyxy()
        height, width = self.original
        restored = (np.asarray(boxes, np.float32).reshape(-1, 4) - offset) / scale
        return np.clip(restored, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)

    def _xyxy(self) -> tuple[np.ndarray, np.ndarray]:
        (scale_y, scale_x), (offset_y, offset_x) = self.scale, self.offset
        scale = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        return scale, np.array([offset_x, offset_y, offset_x, offset_y], np.float32)
