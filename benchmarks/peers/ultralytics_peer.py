"""ultralytics' smallest detector, an image to boxes, for context. Run in an environment that holds it."""
# pyright: reportMissingImports=false

from __future__ import annotations

import sys

import numpy as np
import torch
from loop import Work, serve


def predict(name: str, size: int) -> Work:
    """`name` is a model's .yaml: random weights."""
    from ultralytics import YOLO

    model = YOLO(name)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return Work(lambda: model.predict(image, imgsz=size, verbose=False, conf=0.001, max_det=100))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve({"predict": predict})
