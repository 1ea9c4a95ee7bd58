"""What train and evaluate leave beside their metrics, compare of two of them, and explain: as a user runs them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import effdet
from effdet.cli import app
from effdet.cli.data import tensors_hash

SMALL = ["phi=-4", "image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu", "logger=null",
         "progress=false", "augment=none", "trainer.max_epochs=1", "preflight=false"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(small_coco, tmp_path_factory) -> Path:
    """A folder with two runs of one epoch, a and b."""
    directory = tmp_path_factory.mktemp("work")
    before = Path.cwd()
    os.chdir(directory)
    try:
        for number, name in enumerate("ab"):
            overrides = ["data=coco", f"data.root={small_coco}", f"run_dir={name}", f"seed={number}"]
            effdet.train([*overrides, *SMALL, *(["report=false"] if name == "b" else [])])
    finally:
        os.chdir(before)
    return directory


def test_a_training_ends_with_a_page(runs):
    page = (runs / "a" / "report.html").read_text()
    for text in ("Training", "Learning rate", "Mistakes", "Fusion weights", "Configuration", "1 epoch, 2 steps"):
        assert text in page, text
    assert tensors_hash(effdet.load(runs / "a" / "checkpoints" / "last.ckpt")) in page
    assert (runs / "a" / "statistics.npz").is_file()


def test_a_page_may_be_declined(runs):
    assert not (runs / "b" / "report.html").exists()
    assert (runs / "b" / "statistics.npz").is_file()


def test_an_evaluation_ends_with_a_page(runs, tmp_path):
    run = effdet.evaluate([f"model={runs}/a", "device=cpu", "workers=0", f"out={tmp_path}"])
    assert run.run_dir == tmp_path
    page = (tmp_path / "report.html").read_text()
    assert "Mistakes" in page and "Learning rate" not in page


def test_two_runs_are_compared(runs, tmp_path, capsys):
    assert app.main(["compare", f"{runs}/a", f"{runs}/b", f"out={tmp_path}/c", "samples=100"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"{tmp_path}/c"
    record = json.loads((tmp_path / "c" / "compare.json").read_text())
    metrics = [json.loads((runs / name / "metrics.json").read_text())["AP"] for name in "ab"]
    found = record["differences"]["AP"]
    assert [found["first"], found["second"]] == pytest.approx(metrics)
    assert found["difference"] == pytest.approx(metrics[1] - metrics[0])
    assert record["images"] == 4 and record["samples"] == 100
    assert "not clear" in (tmp_path / "c" / "compare.html").read_text()


def test_other_data_is_refused(runs, small_coco, tmp_path, capsys):
    for overrides in (["max_images=3"], ["split=train"]):
        out = tmp_path / overrides[0]
        effdet.evaluate([f"model={runs}/a", "device=cpu", "workers=0", f"out={out}", "report=false", *overrides])
        assert app.main(["compare", f"first={runs}/a", f"second={out}"]) == 2
        assert "only evaluations of the same split with the same labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ([], "first=…: must be given"),
        (["nowhere", "nowhere"], "nowhere: no such folder"),
        (["a/checkpoints", "b"], "holds no statistics.npz"),
        (["a", "b", "samples=5"], "samples=5: must be int ≥ 100"),
    ],
)
def test_misuse_of_compare(runs, monkeypatch, capsys, overrides, text):
    monkeypatch.chdir(runs)
    assert app.main(["compare", *overrides]) == 2
    assert text in capsys.readouterr().err


def test_explain_draws(runs, small_coco, tmp_path, capsys):
    overrides = [
        f"model={runs}/a",
        f"source={small_coco}/val2017",
        "score_threshold=0",
        "most=1",
        "max_images=2",
        "device=cpu",
    ]
    assert app.main(["explain", *overrides, f"out={tmp_path}/seen"]) == 0
    assert "2 targets in 2 images" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "seen").iterdir())
    assert len(names) == 3 and names[-1] == "fusion.html"
    assert names[0].startswith("1-detection-1-")


def test_explain_the_neck_alone(runs, tmp_path):
    assert app.main(["explain", f"model={runs}/a", f"out={tmp_path}", "device=cpu"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fusion.html"]
