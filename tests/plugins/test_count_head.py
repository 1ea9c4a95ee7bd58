"""A head of one's own, with a kit and without, by the command line from training to report, prediction and exported file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import effdet
from effdet.cli import app
from effdet.inference.explain import explain
from effdet.report.statistics.files import read_statistics
from tests.plugins import dominoes

HERE = "tests.plugins.count_head"
SMALL = ["image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu", "progress=false", "logger=null",
         "backbone=lite0", "trainer.max_epochs=1", "preflight=true", "head=[count]"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = dominoes.write(tmp_path_factory.mktemp("dominoes"))
    head = folder / "conf" / "head" / "count.yaml"
    head.parent.mkdir(parents=True)
    head.write_text(f"# @package head.count\n# Counts.\n_target_: {HERE}.CountHead\n")
    return [
        "--config-dir",
        str(folder / "conf"),
        "data._target_=tests.plugins.dominoes.open_split",
        f"data.folder={folder}",
        "+data.least=4",
    ]


@pytest.fixture(scope="module")
def with_kit(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "kit"
    return effdet.train([*SMALL, *data, f"head.count.kit._target_={HERE}.CountKit", f"run_dir={run}"]).run_dir


@pytest.fixture(scope="module")
def without(data, tmp_path_factory):
    return effdet.train([*SMALL, *data, f"run_dir={tmp_path_factory.mktemp('runs')}/bare"]).run_dir


def a_image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)


def test_a_kit_brings_metric_report_and_statistics(with_kit):
    metrics = json.loads((with_kit / "metrics.json").read_text())
    assert 0 <= metrics["count_near"] <= 1 and "count_loss" not in metrics
    page = (with_kit / "report.html").read_text()
    assert "counts within 1" in page and "Counts" in page
    statistic = read_statistics(with_kit / "statistics.npz").statistics["count"]
    near = statistic(np.ones((1, statistic.images), np.int64))["count_near"]
    assert near.tolist() == [pytest.approx(metrics["count_near"])]
    assert (with_kit / "checkpoints" / "best.ckpt").is_file()


def test_a_kit_brings_fields_json_drawing_and_explanation(with_kit):
    model = effdet.load(with_kit, trust=True)
    found = effdet.Predictor(model)(a_image())
    assert found.to_dict()["count"] == round(found.extra["count"], 3)
    assert found.draw().getpixel((0, 0)) == (1, 2, 3)
    (seen,) = explain(model, a_image())
    assert (seen.head, seen.name, seen.layer) == ("count", "count", "C5")


def test_predict_writes_what_the_kit_says_and_evaluate_prints_its_metrics(with_kit, data, tmp_path, capsys):
    image, out = tmp_path / "image.png", tmp_path / "found"
    Image.fromarray(a_image()).save(image)
    assert app.main(["predict", f"model={with_kit}", "trust=true", f"source={image}", f"out={out}", "device=cpu"]) == 0
    entries = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()[1:]]
    assert entries and all(set(entry["other"]) == {"count"} for entry in entries)
    assert app.main(["evaluate", f"model={with_kit}", "trust=true", *data, "device=cpu", "workers=0"]) == 0
    assert "count_near" in capsys.readouterr().out


def test_without_a_kit_the_loss_decides(without):
    metrics = json.loads((without / "metrics.json").read_text())
    assert metrics["count_loss"] > 0 and (without / "checkpoints" / "best.ckpt").is_file()
    assert (without / "report.html").is_file()
    rows = list(csv.DictReader((without / "metrics.csv").open()))
    assert any(row.get("val/count_loss") for row in rows)
    found = effdet.Predictor(effdet.load(without, trust=True))(a_image())
    assert found.extra == {} and found.to_dict() == {"path": None, "height": 48, "width": 80}


def test_without_a_kit_a_run_goes_on(without, data, tmp_path):
    half = effdet.train([*SMALL, *data, f"run_dir={tmp_path}/half", "trainer.max_steps=1"]).run_dir
    whole = effdet.train([f"resume={half}", "trainer.max_steps=-1", "trust=true"]).run_dir
    states = [torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (without, whole)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("run", ["with_kit", "without"])
def test_raw_outputs_are_exported(run, request, tmp_path):
    run_dir: Path = request.getfixturevalue(run)
    out = tmp_path / "count.torchscript"
    overrides = [f"model={run_dir}", "trust=true", "format=torchscript", "nms=false", f"out={out}"]
    assert app.main(["export", *overrides]) == 0
    model, opened = (effdet.Predictor(path, trust=True).model for path in (run_dir, out))
    images = torch.rand(1, 3, 64, 64)
    expected = model(images)["count"]
    found = opened(images) if not opened.info.normalise else None  # type: ignore[union-attr]
    assert opened.info.outputs == ("count.count", "count.spread")  # type: ignore[union-attr]
    if found is not None:
        torch.testing.assert_close(found["count"], {name: value.float() for name, value in expected.items()})
