"""Every built-in head passes the shared tester."""

from __future__ import annotations

from typing import ClassVar

import torch

from effdet.model import ModelSpec, spec_for
from heads.structures import Targets
from tests.model_tester import HeadTests


def labels(batch: int, height: int, width: int) -> Targets:
    """Boxes with padding, a map with ignored pixels, categories."""
    boxes = torch.tensor([[8.0, 10.0, 40.0, 50.0], [50.0, 5.0, 90.0, 40.0], [0.0, 0.0, 0.0, 0.0]])
    generator = torch.Generator().manual_seed(4)
    semantic = torch.randint(0, 3, (batch, height, width), generator=generator, dtype=torch.uint8)
    semantic[:, :8] = 255
    return Targets(
        boxes=boxes.expand(batch, -1, -1),
        labels=torch.tensor([1, 0, -1]).expand(batch, -1),
        semantic=semantic,
        category=torch.arange(batch) % 3,
    )


class OfTask(HeadTests):
    task: str
    options: ClassVar[dict | None] = None

    def spec(self) -> ModelSpec:
        heads = None if self.options is None else {self.head: self.options}
        options = {"drop_path": 0.0}
        return spec_for(task=self.task, phi=-4, num_classes=3, image_size=64, heads=heads, backbone_options=options)

    def targets(self, batch: int, height: int, width: int) -> Targets:
        return labels(batch, height, width)


class TestDetection(OfTask):
    task, head = "detection", "detection"


class TestDetectionByPredictions(OfTask):
    task, head = "detection", "detection"
    options: ClassVar[dict | None] = {"loss": {"matcher": "tal", "box": "ciou"}}


class TestSemantic(OfTask):
    task, head = "segmentation", "semantic"
    options: ClassVar[dict | None] = {"auxiliary": {"level": "C4"}}


class TestSemanticOfDriving(OfTask):
    task, head = "driving", "semantic"


class TestClassification(OfTask):
    task, head = "classification", "classification"


class TestEmbedding(OfTask):
    task, head = "embedding", "embedding"
