"""A small detector with logits that differ, and images for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import effdet
from effdet.export.images import canvases, street_images
from effdet.model import VisionModel
from heads.structures import ClassTable

CLASSES = ClassTable(("car", None, "person", "bus"), (3, None, 1, 6))
SIZE = (64, 96)
SCORE = {"score_threshold": 0.05}


def small_model(**options) -> VisionModel:
    """phi=-4 with BatchNorm statistics and logits that are not all alike: near ties would flip at any rounding."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = effdet.create_model(**options).eval()
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        if "detection" in model.heads:
            last = model.heads["detection"].class_net.last
            last.weight.normal_(std=30 * last.in_channels**-0.5)
            last.bias.add_(2)
    return model


@pytest.fixture(scope="session")
def model() -> VisionModel:
    return small_model(task="detection", phi=-4, classes=CLASSES, image_size=SIZE)


@pytest.fixture(scope="session")
def images(model) -> Tensor:
    return canvases(street_images(2), model.preprocess)


@pytest.fixture(scope="session")
def saved(model, tmp_path_factory) -> Path:
    """The model as a file that describes itself."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    effdet.save(model, path)
    return path
