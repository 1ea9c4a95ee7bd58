"""torchvision's detectors, a picture to boxes, for context. Run in an environment that holds torchvision."""

from __future__ import annotations

import sys

import numpy as np
import torch
from loop import Work, serve


def predict(name: str, **_: object) -> Work:
    """`name` is a builder of ``torchvision.models.detection``; weights are random, sizes the builder's own."""
    from torchvision.models import detection

    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None).eval()
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))

    @torch.no_grad()
    def run() -> object:
        return model([image.permute(2, 0, 1).float() / 255])

    return Work(run)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve({"predict": predict})
