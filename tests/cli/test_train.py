"""The commands, end to end, on four images."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import effdet
from effdet.cli import app
from heads.structures import UserError
from tests.cli.conftest import composed

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "phi=-4",
    "image_size=64",
    "weights=none",
    "batch_size=2",
    "workers=0",
    "device=cpu",
    "logger=null",
    "progress=false",
    "augment=none",
]


def metrics_of(directory: Path) -> dict[str, float]:
    values = json.loads((directory / "metrics.json").read_text())
    return {key: value for key, value in values.items() if isinstance(value, float) and "second" not in key}


@pytest.fixture(scope="module")
def trained(small_coco, tmp_path_factory):
    """A run of one epoch, started in a folder of its own."""
    directory = tmp_path_factory.mktemp("work")
    before = Path.cwd()
    os.chdir(directory)
    try:
        run = effdet.train(["data=coco", f"data.root={small_coco}", *SMALL, "trainer.max_epochs=1"])
    finally:
        os.chdir(before)
    assert run.run_dir is not None
    return run


def test_a_training_writes_its_folder(trained, small_coco):
    directory = trained.run_dir
    assert directory.name == "detection-coco-phi-4-1"
    for name in ("config.yaml", "metrics.csv", "metrics.json", "train_batch.jpg", "predictions.jpg"):
        assert (directory / name).is_file(), name
    for name in ("best.ckpt", "last.ckpt"):
        assert (directory / "checkpoints" / name).is_file()
    saved = yaml.safe_load((directory / "config.yaml").read_text())
    assert saved["data"]["root"] == str(small_coco)
    assert "AP50" in trained.metrics


def test_the_class_table_is_the_datas(trained):
    model = effdet.load(trained.run_dir)
    assert model.classes["detection"].names == ("red", "green")
    assert model.classes["detection"].ids == (3, 4)
    assert model.preprocess.size == (64, 64)


def test_evaluate_agrees_with_the_last_validation(trained):
    run = effdet.evaluate([f"model={trained.run_dir}/checkpoints/last.ckpt", "split=val", "device=cpu", "workers=0"])
    expected = metrics_of(trained.run_dir)
    assert run.run_dir is not None
    assert run.run_dir == trained.run_dir / "evaluation" / "val"
    assert metrics_of(run.run_dir) == pytest.approx(expected, abs=1e-6)
    assert isinstance(json.loads((run.run_dir / "predictions.json").read_text()), list)


def test_predict_draws(trained, small_coco, tmp_path, capsys):
    overrides = [
        f"model={trained.run_dir}",
        f"source={small_coco}/val2017",
        f"out={tmp_path}/drawn",
        "score_threshold=0",
        "device=cpu",
    ]
    assert app.main(["predict", *overrides]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"{tmp_path}/drawn"
    written = json.loads((tmp_path / "drawn" / "predictions.json").read_text())
    assert len(written["images"]) == 4
    assert {row["category_id"] for row in written["annotations"]} <= {3, 4}
    assert len(list((tmp_path / "drawn").glob("*.jpg"))) == 4


def test_a_run_goes_on(trained, capsys):
    overrides = [f"run_dir={trained.run_dir}", "trainer.max_epochs=2"]
    assert app.main(["train", *overrides]) == 2
    assert "resume=auto" in capsys.readouterr().err
    run = effdet.train([*overrides, "resume=auto"])
    assert run.run_dir == trained.run_dir
    rows = (trained.run_dir / "metrics.csv").read_text().splitlines()
    assert any(row.startswith("4,") for row in rows)


def test_data_errors_are_reported_together_and_before_anything_is_written(small_coco, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    overrides = [f"data.root={small_coco}", f"data.train_annotations={small_coco}/val2017/1.png",
             f"data.val_annotations={small_coco}/val2017/2.png"]  # fmt: skip
    assert app.main(["train", "data=coco", *overrides, *SMALL]) == 2
    text = capsys.readouterr().err
    assert "1.png" in text
    assert "2.png" in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["model=nothing"], "neither a file nor a model"),
        (["model=runs/nothing"], "no such file or folder"),
        (["model=tf_efficientdet_d00"], "did you mean tf_efficientdet_d0?"),
        (["model=tf_efficientdet_d0"], "it has no weights"),
    ],
)
def test_a_model_that_is_not_there(overrides, text, small_coco, monkeypatch, tmp_path):
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=text.replace("?", r"\?")):
        effdet.evaluate([*overrides, "data=coco", f"data.root={small_coco}"])


def training_set(root: Path):
    from effdet.cli.data import open_splits

    config = composed("train", "data=coco", f"data.root={root}")
    return open_splits(config, "train", requested=config.task.needs)[0]


def test_random_weights_are_said_aloud(small_coco, tmp_path, monkeypatch, capsys):
    from effdet.cli.training import first_weights
    from effdet.model import build, spec_for
    from effdet.training.starting import Start

    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    model = build(spec_for(task="detection", backbone="lite0", num_classes=2))
    train = training_set(small_coco)
    assert first_weights(model, composed("train"), train) == ({"source": None}, Start())
    text = " ".join(capsys.readouterr().err.split())
    assert "random weights" in text
    assert "weights=auto would fetch" in text
    assert first_weights(model, composed("train", "weights=none"), train) == ({"source": None}, Start())
    assert capsys.readouterr().err == ""


@pytest.mark.data
def test_a_backbones_file_is_loaded_and_recorded(data_root, small_coco, tmp_path, capsys):
    from effdet.cli.training import first_weights
    from effdet.model import build, spec_for

    path = data_root / "weights" / "efficientdet-lite0.tflite"
    if not path.is_file():
        pytest.skip(f"no {path}")
    model = build(spec_for(task="detection", backbone="lite0", num_classes=2))
    record, start = first_weights(
        model, composed("train", "backbone=lite0", f"weights={path}"), training_set(small_coco)
    )
    assert record["scope"] == "model"
    assert len(record["sha256"]) == 64
    assert start.whole and start.carried == {"detection": ()} and start.fresh == {"detection": (0, 1)}
    text = capsys.readouterr().out
    assert "matched" in text and "folded away; their statistics were measured on" in text and "images of yours" in text


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_processes_share_a_folder(launcher, small_coco, tmp_path):
    overrides = ["train", "data=coco", f"data.root={small_coco}", *SMALL, "trainer.max_epochs=1", "freeze=bn"]
    overrides += ["trainer.devices=2", "trainer.strategy=ddp"]
    program = ["-m", "effdet"]
    if launcher == "torchrun":
        program = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "effdet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *program, *overrides], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["detection-coco-phi-4-1"]
    assert result.stdout.count("AP50") >= 1
    assert "AP50" in metrics_of(tmp_path / "runs" / "detection-coco-phi-4-1")


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `directory`: when it was written, and what it holds."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def short(small_coco, tmp_path_factory):
    """The overrides of a run of three steps, which has been run to its end."""
    directory = tmp_path_factory.mktemp("short") / "x"
    overrides = ["data=coco", f"data.root={small_coco}", *SMALL, f"run_dir={directory}", "resume=auto"]
    assert app.main(["train", *overrides, "trainer.max_steps=3", "early_stopping.patience=2"]) == 0
    return directory, overrides


def test_a_restart_of_a_run_that_is_over_trains_and_replaces_nothing(short, capsys):
    directory, overrides = short
    before = contents(directory)
    for _ in range(2):
        assert app.main(["train", *overrides, "trainer.max_steps=3", "early_stopping.patience=2"]) == 0
        out = capsys.readouterr().out
        assert "this run is over after 2 epochs, 3 steps: nothing to do" in out
        assert "raise trainer.max_steps (now 3)" in out
        assert out.strip().splitlines()[-1] == str(directory)
    assert contents(directory) == before
    run = effdet.train([*overrides, "trainer.max_steps=3", "early_stopping.patience=2"])
    assert run.run_dir == directory
    assert run.metrics == json.loads((directory / "metrics.json").read_text())


def test_a_run_stopped_before_its_results_were_written_gets_them(short, capsys):
    directory, overrides = short
    names = ("metrics.json", "predictions.json", "statistics.npz")
    before = contents(directory)
    found = json.loads((directory / "metrics.json").read_text())
    predictions = (directory / "predictions.json").read_text()
    for name in names:
        (directory / name).unlink()
    run = effdet.train([*overrides, "trainer.max_steps=3", "early_stopping.patience=2"])
    assert "stopped before its results were written" in capsys.readouterr().out
    assert {key: run.metrics[key] for key in found if "second" not in key} == {
        key: found[key] for key in found if "second" not in key
    }
    assert (directory / "predictions.json").read_text() == predictions
    assert set(contents(directory)) == set(before)


def test_a_resume_that_is_refused_leaves_the_run_as_it_was(short, capsys):
    directory, overrides = short
    before = contents(directory)
    assert app.main(["train", *overrides, "trainer.max_steps=9", "optimizer.lr=0.5"]) == 2
    assert "optimizer.lr=0.5: the run has" in capsys.readouterr().err
    overrides = [override for override in overrides if not override.startswith("batch_size=")]
    assert app.main(["train", *overrides, "trainer.max_steps=9", "batch_size=1"]) == 2  # known once the trainer is made
    assert "batch_size=1: the run has 2" in capsys.readouterr().err
    assert contents(directory) == before


def test_what_a_resume_asks_for_counts_and_is_said(short, capsys):
    directory, overrides = short
    more = ["trainer.max_steps=4", "early_stopping.patience=12", "max_detections=7", "trainer.precision=bf16-mixed"]
    assert app.main(["train", *overrides, *more]) == 0
    out = capsys.readouterr().out
    for line in ("early_stopping.patience: 2 -> 12", "trainer.max_steps: 3 -> 4", "max_detections: null -> 7"):
        assert f"from here on {line}" in out
    saved = yaml.safe_load((directory / "config.yaml").read_text())
    assert (saved["early_stopping"]["patience"], saved["max_detections"]) == (12, 7)
    model = effdet.load(directory / "checkpoints" / "last.ckpt")
    assert model.heads["detection"].postprocess.max_detections == 7
    found = [row["image_id"] for row in json.loads((directory / "predictions.json").read_text())]
    assert max(map(found.count, found)) <= 7


def test_own_images_without_any_weights_ask_for_a_decision(small_coco, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("effdet.hub.cached_hub_file", lambda file: None)
    monkeypatch.chdir(tmp_path)
    asked = [text for text in SMALL if not text.startswith(("weights", "phi"))]
    assert app.main(["train", "data=coco", f"data.root={small_coco}", "backbone=lite0", *asked]) == 2
    error = capsys.readouterr().err
    assert "weights=auto   downloads tf_efficientdet_lite0 (about 13 MB)" in error and "weights=none" in error
    assert list(tmp_path.iterdir()) == [], "stopped before anything is written"


SOFT_TARGETS = [
    "head.detection.loss.matcher=atss_tal",
    "head.detection.loss.tal_start=0.5",
    "head.detection.loss.tal_smallest=16",
    "head.detection.loss.box=giou",
    "head.detection.loss.box_by_score=true",
    "head.detection.loss.normalizer=score",
]


@pytest.mark.parametrize("classes", ["quality", "varifocal"])
def test_soft_targets_from_training_to_evaluation(classes, small_coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = ["data=coco", f"data.root={small_coco}", *SMALL, *SOFT_TARGETS, f"head.detection.loss.classes={classes}"]
    effdet.train([*chosen, "trainer.max_epochs=2", "run_dir=run"])
    head: Any = effdet.load("run").heads["detection"]
    assert type(head.class_loss).__name__.lower().startswith(classes) and head.matcher.start == 0.5
    assert head.matcher.late.smallest == 16 and head.reads_score
    assert effdet.evaluate(["model=run", "device=cpu", "workers=0"]).metrics["AP"] >= 0
