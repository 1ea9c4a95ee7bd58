"""Preprocessing: the one object that says what a model's pixels are, and that travels with its weights.

Two halves. *Geometry* lays an image on the input canvas, uint8 to uint8, in loader workers; it is the
same for evaluation, prediction and export. *Normalise* runs on the device just before ``model(images)``. The returned
:class:`~heads.structures.Geometry` brings boxes back; :func:`restore_mask` brings segmentation maps back.

Resize rules:
    letterbox    keep the aspect, top-left corner, pad right and bottom with `fill` (EfficientDet)
    stretch      to the canvas, whatever the aspect (EfficientDet-Lite as published, segmentation, CIFAR)
    center_crop  short side to canvas / `crop`, then the centre (ImageNet classifiers)

All resizing is Pillow's (antialiased), the implementation that the published weights were evaluated with.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from PIL import Image

from backbones.fields import as_lists, as_tuples, build
from heads.fields import check_fields
from heads.structures import Geometry, UserError

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocess:
    """Canvas, resize rule and pixel statistics of a model."""

    size: tuple[Annotated[int, "1.."], Annotated[int, "1.."]]
    """(height, width) of the network input, pixels."""
    resize: Literal["letterbox", "stretch", "center_crop"] = "letterbox"
    """How an image is laid on the input."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Filter of the resampling."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Per channel RGB, in units of the 0…1 pixel range."""
    std: tuple[float, float, float] = IMAGENET_STD
    fill: tuple[int, int, int] = (124, 116, 104)
    """uint8 RGB of the padding: the mean colour, so that padding is about zero after normalising."""
    crop: Annotated[float, "0.1..1"] = 1.0
    """For center_crop: the share of the short side that is kept."""

    def __post_init__(self) -> None:
        check_fields(self, "preprocess.")

    def geometry(self, image: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Lay an image on the canvas.

        Args:
            image: (h, w, 3) uint8 RGB.

        Returns:
            The (H, W, 3) uint8 canvas, and how the image lies on it.
        """
        place = self.place(image.shape[0], image.shape[1])
        scaled = _resized(image, place.resized, FILTERS[self.interpolation])
        return _pasted(scaled, place, self.fill), place.geometry

    def geometry_mask(self, mask: np.ndarray, *, ignore: int = 255) -> np.ndarray:
        """Lay a (h, w) uint8 segmentation map on the canvas with nearest resampling; the padding is `ignore`."""
        place = self.place(mask.shape[0], mask.shape[1])
        return _pasted(_resized(mask, place.resized, Image.Resampling.NEAREST), place, ignore)

    def place(self, height: int, width: int) -> Placement:
        """Where an image of (height, width) pixels comes to lie, without touching a pixel."""
        canvas_h, canvas_w = self.size
        if self.resize == "stretch":
            return _placement((height, width), (canvas_h, canvas_w), self.size, (0, 0))
        if self.resize == "letterbox":
            ratio = min(canvas_h / height, canvas_w / width)
            resized = (max(1, int(height * ratio)), max(1, int(width * ratio)))
            return _placement((height, width), resized, self.size, (0, 0))
        ratio = max(canvas_h / height, canvas_w / width) / self.crop
        resized = (max(canvas_h, round(height * ratio)), max(canvas_w, round(width * ratio)))
        offset = (-((resized[0] - canvas_h) // 2), -((resized[1] - canvas_w) // 2))
        return _placement((height, width), resized, self.size, offset)

    def normalise(self, images: Tensor, *, channels_last: bool = False) -> Tensor:
        """(B, 3, H, W) uint8 RGB, or (B, H, W, 3) with `channels_last` -> float32 of the same shape and memory format.

        Mean and deviation are taken out.
        """
        import torch

        shape = (3,) if channels_last else (3, 1, 1)
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=images.device).view(shape)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=images.device)
        return torch.addcmul(shift.view(shape), images.to(torch.float32), scale)

    def fitted(self, size: int | tuple[int, int]) -> Self:
        """The same preprocessing on another canvas; an int means a square."""
        return replace(self, size=(size, size) if isinstance(size, int) else (int(size[0]), int(size[1])))

    def to_dict(self) -> dict[str, Any]:
        return as_lists(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return build(cls, as_tuples(values), what="preprocess", error=UserError)


@dataclass(frozen=True)
class Placement:
    """An image's size after resizing, and its geometry on the canvas."""

    resized: tuple[int, int]
    geometry: Geometry


def restore_mask(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(H, W) uint8 segmentation map in input pixels -> (h, w) in original pixels, nearest, one lookup for each output pixel.

    Pixels that the canvas did not hold (cropped away) are 255.
    """
    rows = _source_index(geometry.original[0], geometry.scale[0], geometry.offset[0])
    columns = _source_index(geometry.original[1], geometry.scale[1], geometry.offset[1])
    inside_rows, inside_columns = (rows >= 0) & (rows < mask.shape[0]), (columns >= 0) & (columns < mask.shape[1])
    restored = mask[rows.clip(0, mask.shape[0] - 1)][:, columns.clip(0, mask.shape[1] - 1)]
    if not (inside_rows.all() and inside_columns.all()):
        restored[~(inside_rows[:, None] & inside_columns[None, :])] = 255
    return restored


def _source_index(length: int, scale: float, offset: float) -> np.ndarray:
    """Input pixel under the centre of each original pixel."""
    return np.floor((np.arange(length) + 0.5) * scale + offset).astype(np.int64)


def _placement(
    original: tuple[int, int], resized: tuple[int, int], canvas: tuple[int, int], offset: tuple[int, int]
) -> Placement:
    # The scale that the pixels really got after truncation, so that boxes lie on the pixels exactly.
    scale = (resized[0] / original[0], resized[1] / original[1])
    return Placement(resized, Geometry(original, canvas, scale, (float(offset[0]), float(offset[1]))))


def _resized(pixels: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), method))


def _pasted(pixels: np.ndarray, place: Placement, fill: tuple[int, int, int] | int) -> np.ndarray:
    canvas_h, canvas_w = place.geometry.canvas
    top, left = (-int(offset) for offset in place.geometry.offset)
    if pixels.shape[:2] == (canvas_h, canvas_w):
        return np.ascontiguousarray(pixels)
    visible = pixels[top : top + canvas_h, left : left + canvas_w]
    canvas = np.empty((canvas_h, canvas_w, *pixels.shape[2:]), np.uint8)
    # A row at a time, and only where the image does not lie: three bytes at a time would take as long as resizing.
    row = np.empty(canvas.shape[1:], np.uint8)
    row[...] = fill
    canvas[visible.shape[0] :] = row
    canvas[: visible.shape[0], visible.shape[1] :] = row[visible.shape[1] :]
    canvas[: visible.shape[0], : visible.shape[1]] = visible
    return canvas
