"""torchvision's detectors, an image to boxes and a training step, for context; in an environment that holds torchvision."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from loop import Work, serve


def network(name: str, size: int | None) -> Any:
    """`name` is a builder of ``torchvision.models.detection``; weights are random. `size` None: the builder's own."""
    from torchvision.models import detection

    torch.manual_seed(0)
    sizes = {} if size is None else {"min_size": size, "max_size": size}
    return getattr(detection, name)(weights=None, weights_backbone=None, num_classes=91, **sizes)


def predict(name: str, size: int | None = None) -> Work:
    model = network(name, size).eval()
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))

    @torch.no_grad()
    def run() -> object:
        return model([image.permute(2, 0, 1).float() / 255])

    return Work(run)


def train_step(name: str, batch: int, pixels: int, size: int | None = None, boxes: int = 8) -> Work:
    """On `batch` square images of `pixels` with `boxes` each."""
    model = network(name, size).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    rng = np.random.default_rng(2)
    images = [torch.from_numpy(rng.random((3, pixels, pixels), np.float32)) for _ in range(batch)]
    low = rng.uniform(0, 0.6, (batch, boxes, 2))
    corners = (np.concatenate([low, low + rng.uniform(0.05, 0.4, (batch, boxes, 2))], -1) * pixels).astype(np.float32)
    labels = torch.from_numpy(rng.integers(1, 91, (batch, boxes)))
    targets = [{"boxes": torch.from_numpy(row), "labels": names} for row, names in zip(corners, labels, strict=True)]

    def run() -> None:
        torch.stack(list(model(images, targets).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return Work(run)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve({"predict": predict, "train_step": train_step})
