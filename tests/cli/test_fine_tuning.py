"""Fine-tuning from a model file that knows one class of the data: what is said before, during and after."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import effdet
from effdet.cli import app
from effdet.model import build, spec_for
from heads.structures import ClassTable
from tests.cli.test_train import SMALL


@pytest.fixture(scope="module")
def model_file(small_coco, tmp_path_factory):
    """A small detector of `red` and `blue` whose statistics are those of the images."""
    torch.manual_seed(0)
    classes = ClassTable(("red", "blue"), (1, 2))
    model = build(spec_for(task="detection", phi=-4, classes=classes, image_size=64)).train()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    paths = sorted(small_coco.glob("train2017/*.png"))
    images = np.stack([model.preprocess.geometry(np.array(Image.open(path)))[0] for path in paths])
    x = model.preprocess.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
    with torch.no_grad():
        model.heads["detection"].class_net.last.weight.normal_(std=0.1)
        for norm in norms:
            norm.momentum = None
        for _ in range(2):
            model(x)
    path = tmp_path_factory.mktemp("file") / "red and blue.safetensors"
    effdet.save(model, path)
    return path


def overrides(small_coco, model_file, run_dir, *more):
    without = [override for override in SMALL if not override.startswith("weights")]
    return [
        "data=coco", f"data.root={small_coco}", *without, f"weights={model_file}", f"run_dir={run_dir}",
        "trainer.max_epochs=1", "report=false", *more,
    ]  # fmt: skip


def rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_start_is_measured_and_the_end_compared_with_it(small_coco, model_file, tmp_path, capsys, monkeypatch):
    scores = iter([0.5, 0.25])  # of the start, and of the only epoch
    import effdet.cli.train as command

    real = command.evaluate

    def evaluate(*args, **options):
        result = real(*args, **options)
        result.metrics["AP"] = next(scores)
        return result

    monkeypatch.setattr(command, "evaluate", evaluate)
    assert app.main(["train", *overrides(small_coco, model_file, tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "1 of 2 classes; fresh: green" in said.out
    assert "pre-flight: " in said.out and "training and evaluation mode agree (P3 " in said.out
    assert "the weights start at AP " in said.out  # on the images with `red`
    assert "the class loss of detection's new classes is 1.00 of the prior's" in said.out
    assert "the starting weights, before training: AP 0.5000\n" in said.out
    assert "AP: 0.5000 at the start -> 0.2500 at best" in said.out
    assert "warning: training made the model worse: AP 0.5000 at the start, 0.2500 at best" in said.err
    assert "red and blue.safetensors" in said.err.split("made the model worse")[1]
    first, *others = rows(tmp_path / "run")
    assert (first["step"], first["epoch"], first["val/AP"]) == ("0", "0", "0.5")
    assert [row["val/AP"] for row in others if row["val/AP"]] == ["0.25"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["AP"] == 0.25


@pytest.mark.parametrize(
    ("value", "weights", "measured"), [("false", "file", False), ("true", "none", True), ("auto", "none", False)]
)
def test_at_start_by_hand(value, weights, measured, small_coco, model_file, tmp_path):
    source = model_file if weights == "file" else "none"
    effdet.train(overrides(small_coco, source, tmp_path / "run", f"evaluation.at_start={value}", "preflight=false"))
    assert (rows(tmp_path / "run")[0]["step"] == "0") is measured


def test_a_file_of_nine_anchors_fills_a_head_of_one(small_coco, model_file, tmp_path, capsys):
    """From the command line to the run's own file, which evaluates; the class that both know detects before the training."""
    one = ["head.detection.anchors.scales_per_octave=1", "head.detection.anchors.aspects=[1.0]"]
    run = tmp_path / "run"
    assert app.main(["train", *overrides(small_coco, model_file, run, *one, "head.detection.anchors.scale=5")]) == 0
    said = capsys.readouterr().out
    line = "  anchors        1 a cell from the file's 9: 5.00 x 5.00 strides by the rows of 5.04 x 5.04 (IoU 0.98); box rows "
    assert said.count(line + "converted to the new sizes\n") == 1
    assert "1 of 2 classes; fresh: green" in said and "the weights start at AP " in said
    assert "the class loss of detection's new classes is 1.00 of the prior's" in said
    source, trained = effdet.load(model_file), effdet.load(run)
    head = trained.heads["detection"]
    assert head.anchor_spec.per_cell == 1 and head.box_net.last.out_channels == 4
    for key, value in trained.state_dict().items():
        assert value.shape == source.state_dict()[key].shape or ".predict.pointwise." in key, key
    assert app.main(["evaluate", f"model={run}", "data=coco", f"data.root={small_coco}", "workers=0", "report=false",
                     f"out={tmp_path / 'evaluated'}"]) == 0  # fmt: skip
    assert "AP" in capsys.readouterr().out


def test_a_folded_file_without_statistics_is_stopped(small_coco, model_file, tmp_path, capsys):
    """As it was before statistics were put back: the norms are identities, evaluation mode is right, training mode is not."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(model_file)
    for key in [key.removesuffix("running_mean") for key in tensors if key.endswith("running_mean")]:
        spread = torch.randn(len(tensors[f"{key}weight"])).mul(2).exp()
        tensors[f"{key}running_mean"] = torch.randn_like(spread)  # of another model
        tensors[f"{key}running_var"] = spread
    from safetensors import safe_open

    path = tmp_path / "foreign.safetensors"
    with safe_open(model_file, "pt") as opened:
        save_file(tensors, path, metadata=opened.metadata())
    assert app.main(["train", *overrides(small_coco, path, tmp_path / "run", "freeze=null")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "compute something else in training mode" in said and "freeze=bn" in said
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in said and "torch" in sys.modules
