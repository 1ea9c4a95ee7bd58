"""Segmentation: a segmentation map, and a training step."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.loop import Work
from effdet.model import VisionModel, build, fold, spec_for
from heads.protocol import Context
from heads.structures import Targets


def network(backbone: str, classes: int, height: int, width: int) -> VisionModel:
    torch.manual_seed(0)
    spec = spec_for(task="segmentation", backbone=backbone, num_classes=classes, image_size=(height, width))
    return build(spec).to(memory_format=torch.channels_last)


def random_images(batch: int, height: int, width: int) -> torch.Tensor:
    values = np.random.default_rng(1).standard_normal((batch, 3, height, width), np.float32)
    return torch.from_numpy(values).contiguous(memory_format=torch.channels_last)


def segment(backbone: str, classes: int, height: int, width: int) -> Work:
    """One image to its segmentation map."""
    model, images = fold(network(backbone, classes, height, width).eval()), random_images(1, height, width)

    @torch.no_grad()
    def run() -> object:
        return model.predict(model(images), Context.of(images))

    return Work(run)


def segment_step(backbone: str, classes: int, height: int, width: int, batch: int) -> Work:
    """Cross-entropy on every pixel."""
    model, images = network(backbone, classes, height, width).train(), random_images(batch, height, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=True)
    masks = np.random.default_rng(2).integers(0, classes, (batch, height, width), dtype=np.uint8)
    targets = Targets(semantic=torch.from_numpy(masks))

    def run() -> None:
        torch.stack(list(model.loss(model(images), targets, Context.of(images)).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return Work(run)
