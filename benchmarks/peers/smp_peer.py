"""segmentation_models.pytorch's FPN on an EfficientNet: forward and a training step. Run in an environment that holds it."""
# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from loop import Work, serve


def network(encoder: str, classes: int) -> Any:
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    return smp.FPN(encoder_name=encoder, encoder_weights=None, classes=classes)


def random_images(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((batch, 3, height, width), np.float32))


def segment(encoder: str, classes: int, height: int, width: int) -> Work:
    """One image to its segmentation map."""
    model, images = network(encoder, classes).eval(), random_images(1, height, width)

    @torch.no_grad()
    def run() -> object:
        return model(images).argmax(1)

    return Work(run)


def segment_step(encoder: str, classes: int, height: int, width: int, batch: int) -> Work:
    """Cross-entropy on every pixel."""
    model, images = network(encoder, classes).train(), random_images(batch, height, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    masks = torch.from_numpy(np.random.default_rng(2).integers(0, classes, (batch, height, width)))

    def run() -> None:
        torch.nn.functional.cross_entropy(model(images), masks).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Work(run)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve({"segment": segment, "segment_step": segment_step})
