"""The images of a run: they are drawn, for each task, and show what they should."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from effdet.training.image_grids import PredictionGrid, draw_training_batch
from heads.protocol import Context
from heads.structures import Batch, ClassTable, Detections, Targets

TABLE = ClassTable.of(["car", "bus"])


def batch(targets: Targets) -> Batch:
    return Batch(torch.full((3, 3, 40, 60), 90, dtype=torch.uint8), targets, torch.arange(3))


TARGETS = {
    "boxes": Targets(
        boxes=torch.tensor([[[5.0, 5, 30, 30]], [[0, 0, 0, 0]], [[10, 10, 50, 35]]]),
        labels=torch.tensor([[0], [-1], [1]]),
    ),
    "no boxes": Targets(boxes=torch.zeros(3, 0, 4), labels=torch.zeros(3, 0, dtype=torch.long)),
    "segmentation maps": Targets(semantic=torch.full((3, 40, 60), 1, dtype=torch.uint8)),
    "classes": Targets(category=torch.tensor([0, 1, 0])),
    "mixed classes": Targets(category=torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.2, 0.8]])),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_training_batch(name: str, tmp_path: Path) -> None:
    model: Any = SimpleNamespace(classes={"detection": TABLE, "semantic": TABLE, "classification": TABLE})
    path = draw_training_batch(batch(TARGETS[name]), model, tmp_path / "run" / "train_batch.jpg")
    with Image.open(path) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 2
    assert [item.name for item in path.parent.iterdir()] == ["train_batch.jpg"]


class Model(nn.Module):
    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.found = found
        self.classes = dict.fromkeys(("detection", "semantic", "classification"), TABLE)
        self.preprocess = SimpleNamespace(normalise=lambda images: images.float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def predict(self, outputs: torch.Tensor, context: Context) -> dict[str, Any]:
        return {name: make(len(outputs)) for name, make in self.found.items()}


def detections(count: int) -> Detections:
    return Detections(
        boxes=torch.tensor([[5.0, 5, 30, 30], [1, 1, 9, 9]]).repeat(count, 1, 1),
        scores=torch.tensor([[0.9, 0.1]]).repeat(count, 1),
        labels=torch.tensor([[1, 0]]).repeat(count, 1),
        counts=torch.full((count,), 2),
    )


FOUND = {
    "detection": {"detection": detections},
    "driving": {"detection": detections, "semantic": lambda n: torch.ones(n, 40, 60, dtype=torch.long)},
    "classification": {"classification": lambda n: torch.tensor([[0.2, 0.8]]).repeat(n, 1)},
}


@pytest.mark.parametrize("name", FOUND)
def test_predictions(name: str, tmp_path: Path) -> None:
    dataset = [SimpleNamespace(image=torch.full((3, 40, 60), 90, dtype=torch.uint8).numpy()) for _ in range(20)]
    image_grid = PredictionGrid(dataset, count=4)
    assert image_grid.indices == [0, 6, 12, 19]
    path = image_grid(Model(FOUND[name]), tmp_path / "predictions.jpg")
    assert path.exists()


def test_a_set_of_one(tmp_path: Path) -> None:
    dataset = [SimpleNamespace(image=torch.zeros(3, 40, 60, dtype=torch.uint8).numpy())]
    assert PredictionGrid(dataset).indices == [0]
