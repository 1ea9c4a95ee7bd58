"""Google's Lite0 and Lite1 as a start for training, on real images: both modes one function, new rows at the prior."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.model import VisionModel
from effdet.weights import create_model, load_weights
from effdet.weights.loading import load_file
from effdet.weights.read import read_weights
from heads.structures import ClassTable, Targets

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(1800)]
BATCH = 32


def paths(root: Path, split: str, count: int) -> list[Path]:
    return sorted((root / "coco" / split).glob("*.jpg"))[:count]


def pixels(model: VisionModel, files: list[Path]) -> torch.Tensor:
    canvases = [model.preprocess.geometry(np.asarray(Image.open(path).convert("RGB")))[0] for path in files]
    return model.preprocess.normalise(torch.from_numpy(np.stack(canvases).transpose(0, 3, 1, 2).copy()))


def output(model: VisionModel, images: torch.Tensor, *, training: bool):
    """The model keeps its statistics."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        found = model.train(training)(images)["detection"]
    model.load_state_dict(state)
    model.eval()
    return found


def agreement(model: VisionModel, images: torch.Tensor) -> list[float]:
    """Correlation of class logits in training and in evaluation mode, level by level, finest first."""
    one, two = (output(model, images, training=mode) for mode in (True, False))
    counts = [height * width * 9 for height, width in one.feature_sizes]
    assert min(height * width for height, width in one.feature_sizes) * len(images) >= 64
    pairs = zip(one.class_logits.split(counts, 1), two.class_logits.split(counts, 1), strict=True)
    return [float(np.corrcoef(a.flatten()[::7], b.flatten()[::7])[0, 1]) for a, b in pairs]


@pytest.mark.parametrize("number", [0, 1])
def test_both_modes_are_one_function_and_evaluation_stays(number: int, data_root: Path) -> None:
    path = data_root / "weights" / f"efficientdet-lite{number}.tflite"
    folded = create_model(f"tf_efficientdet_lite{number}")
    load_file(folded, read_weights(path), statistics=False)
    images = pixels(folded, paths(data_root, "val2017", BATCH))
    before = output(folded, images, training=False).class_logits
    assert np.mean(agreement(folded, images)) < 0.5  # what identities do
    alone, measured = (create_model(f"tf_efficientdet_lite{number}") for _ in range(2))
    assert "8 generated images" in load_weights(alone, path).measured
    load_weights(measured, path, images=paths(data_root, "train2017", 128))
    for model, least in ((alone, OWN_IMAGES[number]), (measured, 0.8)):
        after = output(model, images, training=False).class_logits
        assert (after - before).abs().max() / before.abs().max() < 1e-5
        found = agreement(model, images)
        print(f"lite{number}: {[round(value, 3) for value in found]}")
        assert min(found) >= least


OWN_IMAGES = {0: 0.7, 1: 0.6}
"""The least of any level where no image of the user's is at hand."""


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("names", [["raccoon"], ["person", "raccoon"]], ids=["new", "person and new"])
def test_the_first_class_loss_of_new_rows(number: int, names: list[str], data_root: Path) -> None:
    path = data_root / "weights" / f"efficientdet-lite{number}.tflite"
    model = create_model(f"tf_efficientdet_lite{number}", classes=ClassTable.of(names))
    load_weights(model, path, images=paths(data_root, "train2017", 16))
    found = output(model, pixels(model, paths(data_root, "val2017", 8)), training=True)
    logits = found.class_logits[..., -1:]  # the new row
    boxes, labels = torch.tensor([[[40.0, 50.0, 200.0, 260.0]]]).repeat(8, 1, 1), torch.zeros(8, 1, dtype=torch.int64)
    head, targets = model.heads["detection"], Targets(boxes=boxes, labels=labels)
    prior = replace(found, class_logits=torch.full_like(logits, -math.log(99)))
    loss, expected = (
        float(head.loss(replace(found, class_logits=x), targets)["class"]) for x in (logits, prior.class_logits)
    )
    assert loss <= 1.2 * expected
