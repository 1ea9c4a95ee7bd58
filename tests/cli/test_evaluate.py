"""``effdet evaluate`` from the command line to ``predictions.json``."""

import json

import pytest
import torch

import effdet
from effdet.cli.app import main
from effdet.model import build, spec_for
from heads.structures import ClassTable


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A detector with random weights that knows 60 classes besides the two of the data."""
    torch.manual_seed(0)
    table = ClassTable((*(f"other {number}" for number in range(60)), "red", "green"), tuple(range(62)))
    path = tmp_path_factory.mktemp("model") / "many.safetensors"
    effdet.save(build(spec_for(task="detection", phi=-4, classes=table, image_size=64)), path)
    return path


def evaluated(model, data, out, *overrides):
    overrides = [
        "data=coco",
        f"data.root={data}",
        "workers=0",
        "device=cpu",
        "report=false",
        "score_threshold=0",
        f"out={out}",
        *overrides,
    ]
    assert main(["evaluate", f"model={model}", *overrides]) == 0
    return json.loads((out / "predictions.json").read_text())


def test_classes_that_the_data_lacks_take_no_place(model, small_coco, tmp_path):
    """One detection an image: it is of the data's two classes, though 60 others score as much."""
    for name, overrides in {"cap": ["max_detections=1"], "many": ["max_detections=100"]}.items():
        rows = evaluated(model, small_coco, tmp_path / name, *overrides)
        assert {row["category_id"] for row in rows} <= {3, 4}
        assert {row["image_id"] for row in rows} == {1, 2, 3, 4}
        if name == "cap":
            assert len(rows) == 4
    assert len(rows) > 300


def test_an_exported_file_agrees(model, small_coco, tmp_path):
    overrides = [
        "format=torchscript",
        "nms=false",
        f"out={tmp_path}/m.torchscript",
        "gate.images=1",
        "score_threshold=0",
    ]
    assert main(["export", f"model={model}", *overrides]) == 0
    of_file = evaluated(tmp_path / "m.torchscript", small_coco, tmp_path / "file", "max_detections=1")
    of_model = evaluated(model, small_coco, tmp_path / "model", "max_detections=1")
    assert len(of_file) == 4
    assert [row["category_id"] for row in of_file] == [row["category_id"] for row in of_model]
