"""Google's Lite0 in heads of fewer anchors, on real COCO images before any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from effdet.evaluation import coco_metrics
from effdet.weights import create_model
from heads.detection import PostProcess
from tests.weights.test_lite_on_coco import rows

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(1200)]


def average_precision(root: Path, anchors: dict[str, Any]) -> float:
    heads = {"detection": {"anchors": anchors}}
    model = create_model("tf_efficientdet_lite0", weights=root / "weights" / "efficientdet-lite0.tflite", heads=heads)
    (results,) = rows(model.eval().to(memory_format=torch.channels_last), root / "coco", (PostProcess(),))
    annotations = root / "coco" / "annotations" / "instances_val2017.json"
    assert len(json.loads(annotations.read_text())["images"]) == 206
    return coco_metrics(annotations, results, backend="pycocotools")["AP"]


@pytest.mark.parametrize(
    ("anchors", "least"),
    [
        pytest.param({}, 0.295, id="nine"),
        pytest.param({"scales_per_octave": 1, "aspects": [1.0]}, 0.239, id="one"),
        pytest.param({"scale": 3.78, "scales_per_octave": 1, "aspects": [1.0]}, 0.251, id="one in mid-octave"),
    ],
)
def test_ap_before_training(anchors: dict[str, Any], least: float, data_root: Path) -> None:
    """Measured: 0.2956, 0.2401, 0.2521."""
    assert average_precision(data_root, anchors) >= least
