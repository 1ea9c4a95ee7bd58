"""segmentation_models.pytorch's FPN on an EfficientNet, forward only. Run in an environment that holds it."""
# pyright: reportMissingImports=false

from __future__ import annotations

import sys

import numpy as np
import torch
from loop import Work, serve


def forward(encoder: str, classes: int, height: int, width: int, **_: object) -> Work:
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    model = smp.FPN(encoder_name=encoder, encoder_weights=None, classes=classes).eval()
    images = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, height, width), np.float32))

    @torch.no_grad()
    def run() -> object:
        return model(images)

    return Work(run)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve({"forward": forward})
