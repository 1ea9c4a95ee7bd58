"""Small stand-ins: a set of grey images with one box each, and a model that finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from effdet.evaluation.predict_fn import _strips
from effdet.preprocess import Preprocess, restore_mask
from heads.protocol import Context
from heads.structures import ClassTable, Detections, Geometry

CLASSES = ClassTable(("car", "person"), (3, 1))


def restore_maps(maps: torch.Tensor, geometries: Sequence[Geometry]) -> list[np.ndarray]:
    """Segmentation maps in the images' own sizes.

    Args:
        maps: (B, H, W) integer classes in input pixels, resampled with nearest; or (B, K, h, w) float scores of any
            size that covers the canvas, resampled bilinearly before the best class is taken (sharper borders).
        geometries: one an image.

    Returns:
        (height, width) uint8 for each image.
    """
    if maps.ndim == 3:
        values = maps.to(torch.uint8).cpu().numpy()
        return [restore_mask(value, geometry) for value, geometry in zip(values, geometries, strict=True)]
    strips = (_strips(scores, geometry, 512) for scores, geometry in zip(maps, geometries, strict=True))
    return [torch.cat([strip.argmax(0).to(torch.uint8) for strip in each]).numpy() for each in strips]


@dataclass
class FakeRecord:
    image_id: int
    file_name: str = "a.jpg"
    image: Path = Path("a.jpg")
    label: int | None = None
    has_boxes: bool = True


@dataclass
class FakeSample:
    image: np.ndarray
    geometry: Any
    record: FakeRecord
    mask: np.ndarray | None = None


@dataclass
class FakeSet:
    """`count` images of 40 × 60; a white square at 4n px from the left is a car in even images, a person in odd ones."""

    count: int
    preprocess: Preprocess = field(default_factory=lambda: Preprocess((64, 64)))
    broken: int | None = None

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        image = np.zeros((40, 60, 3), np.uint8)
        image[10:20, self.left(index) : self.left(index) + 10] = 255
        return image

    @staticmethod
    def left(index: int) -> int:
        return 4 * (index % 12)

    def __getitem__(self, index: int) -> FakeSample:
        if index == self.broken:
            raise OSError("cannot read image")
        canvas, geometry = self.preprocess.geometry(self.image(index))
        mask = (self.image(index)[..., 0] > 0).astype(np.uint8)
        return FakeSample(
            canvas.transpose(2, 0, 1), geometry, FakeRecord(100 + index, f"{index}.jpg", label=index % 2), mask
        )

    def coco(self) -> dict[str, Any]:
        annotations = [
            {"id": index + 1, "image_id": 100 + index, "category_id": (3, 1)[index % 2], "iscrowd": 0, "area": 100}
            | {"bbox": [self.left(index), 10, 10, 10]}
            for index in range(self.count)
        ]
        return {
            "images": [{"id": 100 + index, "width": 60, "height": 40} for index in range(self.count)],
            "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
            "annotations": annotations,
        }


@dataclass(frozen=True)
class FakeSettings:
    score: float = 0.1
    max_detections: int = 100


class FakeHead(nn.Module):
    """Finds the white square; calls it a car."""

    def __init__(self) -> None:
        super().__init__()
        self.postprocess = FakeSettings()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def predict(self, output: torch.Tensor, context: Context) -> Detections:
        white = output.float().mean(1) > 0.5
        boxes = []
        for image in white:
            y, x = torch.nonzero(image, as_tuple=True)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        count = len(boxes)
        return Detections(
            torch.tensor(boxes, dtype=torch.float32)[:, None],
            torch.full((count, 1), 0.9),
            torch.zeros((count, 1), dtype=torch.int64),
            torch.ones(count, dtype=torch.int64),
        )


class FakeSemantic(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([0.5 - images.mean(1), images.mean(1) - 0.5], dim=1)

    def predict(self, output: torch.Tensor, context: Context) -> torch.Tensor:
        return output.float()

    def restore(self, prediction: torch.Tensor, geometries: Sequence[Geometry]) -> list[np.ndarray]:
        return restore_maps(prediction, geometries)


class FakeClassifier(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([images.mean((1, 2, 3)) * 0 + 1, images.mean((1, 2, 3)) * 0], dim=1)

    def predict(self, output: torch.Tensor, context: Context) -> torch.Tensor:
        return output.float().softmax(1)


class FakeModel(nn.Module):
    """Heads that look at the image itself; has a BatchNorm, so that its mode shows."""

    def __init__(self, *heads: str, size: tuple[int, int] = (64, 64)) -> None:
        super().__init__()
        kinds = {"detection": FakeHead, "semantic": FakeSemantic, "classification": FakeClassifier}
        self.heads = nn.ModuleDict({name: kinds[name]() for name in heads or kinds})
        self.norm = nn.BatchNorm2d(3, eps=0)
        self.preprocess = replace(Preprocess(size), mean=(0, 0, 0), std=(1, 1, 1), fill=(0, 0, 0))
        self.classes = dict.fromkeys(self.heads, CLASSES)
        self.modes: list[bool] = []
        self.dtypes: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        self.modes.append(self.training)
        self.dtypes.append((images @ images.transpose(2, 3)).dtype)
        images = self.norm(images)
        return {name: head(images) for name, head in self.heads.items()}

    def predict(self, outputs: dict[str, torch.Tensor], context: Context) -> dict[str, Any]:
        heads: Any = self.heads
        return {name: head.predict(outputs[name], context) for name, head in heads.items()}
