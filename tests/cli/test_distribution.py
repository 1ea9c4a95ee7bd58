"""``head.detection.bins``: from the command line to the files of a training, its resume, its evaluation and its export."""

import csv
import json

import pytest
import torch

import effdet
from effdet.cli import app
from tests.cli.test_fine_tuning import model_file  # noqa: F401  # fixture
from tests.cli.test_train import SMALL, metrics_of
from tests.export.conftest import CLASSES, small_model

BINS = [
    "head.detection.bins=9", "head.detection.anchors.scales_per_octave=1", "head.detection.anchors.aspects=[1.0]",
    "head.detection.loss.matcher=atss", "head.detection.loss.box=giou", "head.detection.loss.dfl_weight=0.5",
]  # fmt: skip
STEADY = ["report=false", "optimizer.schedule=constant", "optimizer.warmup_epochs=0"]
"""A rate that does not depend on the planned number of steps."""


def test_trained_resumed_and_evaluated(small_coco, tmp_path, capsys):
    data = ["data=coco", f"data.root={small_coco}"]

    def train(run, *more):
        assert app.main(["train", *data, *SMALL, *BINS, *STEADY, f"run_dir={run}", *more]) == 0

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, "trainer.max_epochs=2")
    train(parts, "trainer.max_epochs=2", "trainer.max_steps=2")
    train(parts, "trainer.max_epochs=2", "trainer.max_steps=4", "resume=auto")
    one, two = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, parts)
    )
    assert all(torch.equal(value, two[key]) for key, value in one.items() if "num_batches" not in key)
    with (whole / "metrics.csv").open(newline="") as file:
        assert any(float(row["detection/dfl"] or 0) > 0 for row in csv.DictReader(file))
    model = effdet.load(whole)
    assert model.heads["detection"].bins == 9 and model.heads["detection"].box_net.last.out_channels == 36
    last = whole / "checkpoints" / "last.ckpt"
    assert app.main(["evaluate", f"model={last}", f"out={tmp_path / 'again'}", "workers=0", "report=false"]) == 0
    assert metrics_of(tmp_path / "again")["AP"] == pytest.approx(metrics_of(whole)["AP"], abs=1e-6)
    capsys.readouterr()
    assert app.main(["train", *data, *SMALL, *STEADY, f"run_dir={parts}", "resume=auto", "head.detection.bins=5"]) == 2
    assert "head.detection.bins" in capsys.readouterr().err


def test_exported_and_predicting_as_before(small_coco, tmp_path):
    model = small_model(
        task="detection", phi=-4, classes=CLASSES, image_size=(64, 96), heads={"detection": {"bins": 9}}
    )
    model.heads["detection"].box_net.last.weight.data.normal_(std=0.3)
    source, file = tmp_path / "small.safetensors", tmp_path / "small.onnx"
    effdet.save(model, source)
    images = small_coco / "val2017"
    assert (
        app.main(["export", f"model={source}", "format=onnx", f"out={file}", "gate.images=2", f"source={images}"]) == 0
    )
    assert file.is_file()
    for name, opened in (("own", source), ("file", file)):
        assert (
            app.main(
                ["predict", f"model={opened}", f"source={images}", f"out={tmp_path / name}", "score_threshold=0.1"]
            )
            == 0
        )
    own, exported = (
        json.loads((tmp_path / name / "predictions.json").read_text())["annotations"] for name in ("own", "file")
    )
    scores = [sorted(entry["score"] for entry in entries) for entries in (own, exported)]
    assert len(own) > 0 and scores[0] == pytest.approx(scores[1], abs=1e-3)  # boxes: the gate compares them, to .1 px


def test_weights_with_deltas_start_it(small_coco, model_file, tmp_path, capsys):  # noqa: F811
    """All but the box layer comes along; nothing asks the weights to detect before they are trained."""
    run, small = tmp_path / "run", [value for value in SMALL if not value.startswith("weights")]
    assert app.main(["train", "data=coco", f"data.root={small_coco}", *small, *BINS, f"weights={model_file}", "report=false",
                     "trainer.max_epochs=1", f"run_dir={run}"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "the file's boxes are deltas and the model's distributions over 9 bins; their last layer is fresh" in said
    assert "1 a cell from the file's 9" in said and "1 of 2 classes; fresh: green" in said
    assert "the weights start at" not in said and "the starting weights, before training" not in said
    assert "training and evaluation mode agree (P3 " in said
    assert json.loads((run / "metrics.json").read_text())["AP"] >= 0


def test_the_weight_without_bins_is_an_error_before_any_work(small_coco, capsys):
    overrides = ["train", "data=coco", f"data.root={small_coco}", *SMALL, "head.detection.loss.dfl_weight=0.5"]
    assert app.main(overrides) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "only a head with bins has a distribution focal loss" in said
