"""``teacher=``: a run that learns from another, from the command line to its files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import effdet
from effdet.cli.app import main
from effdet.cli.overrides import ConfigError
from effdet.training import read_checkpoint
from heads.structures import UserError
from tests.training.fakes import equal

SMALL = [
    *(
        "data=streets",
        "phi=-4",
        "image_size=64",
        "weights=none",
        "max_images=6",
        "recipe=paper",
        "batch_size=2",
        "workers=0",
    ),
    *("device=cpu", "logger=null", "progress=false", "augment=light", "report=false", "preflight=false"),
    *(
        "optimizer.schedule=constant",
        "optimizer.warmup_epochs=0",
    ),  # a rate that does not depend on where the run is to end
]
LONG = ["trainer.max_epochs=2", "trainer.log_every_n_steps=1"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A larger model, trained for an epoch."""
    directory = tmp_path_factory.mktemp("teacher") / "a teacher, large"
    larger = [override for override in SMALL if not override.startswith("phi=")]
    effdet.train([*larger, "phi=-3.5", "trainer.max_epochs=1", f"run_dir={directory}"])
    return directory


@pytest.fixture(scope="module")
def distilled(teacher, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("distilled") / "run"
    effdet.train([*SMALL, f"teacher={teacher}", *LONG, f"run_dir={directory}"])
    return directory


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_its_terms_are_logged_as_the_other_losses_are(distilled):
    steps = [row for row in rows(distilled) if row["loss"]]
    assert len(steps) == 6
    for row in steps:
        terms = [float(value) for name, value in row.items() if name.startswith(("detection/", "distillation/"))]
        assert len(terms) == 5
        assert sum(terms) == pytest.approx(float(row["loss"]), rel=1e-4)
        assert float(row["distillation/features"]) > 0


def test_the_model_holds_nothing_of_it(distilled, tmp_path):
    saved = read_checkpoint(distilled / "checkpoints" / "last.ckpt")
    model = effdet.load(distilled)
    names = set(model.state_dict())
    assert set(saved["state_dict"]) == set(saved["raw_state_dict"]) == names
    assert {name.split(".")[0] for name in saved["extra_state_dict"]} == {"extra"}
    assert "teacher" not in saved["spec"]
    plain = effdet.create_model(task="detection", phi=-4, num_classes=8, image_size=64, weights=None)
    assert names == set(plain.state_dict())
    run = effdet.evaluate([f"model={distilled}", "device=cpu", "workers=0", "report=false"])
    assert "AP" in run.metrics


def test_an_exported_file_holds_nothing_of_it(distilled, tmp_path):
    out = tmp_path / "m.torchscript"
    assert (
        main(["export", f"model={distilled}", "format=torchscript", f"out={out}", "gate.images=1", "max_images=2"]) == 0
    )
    held = sum(value.numel() for value in torch.jit.load(str(out)).state_dict().values())
    model = effdet.load(distilled)
    assert held <= sum(value.numel() for value in model.state_dict().values()) * 1.05
    assert b"projections" not in out.read_bytes()


def test_a_resume_in_the_middle_is_exact(teacher, distilled, tmp_path):
    directory = tmp_path / "stopped"
    effdet.train([*SMALL, f"teacher={teacher}", *LONG, f"run_dir={directory}", "trainer.max_steps=4"])
    assert read_checkpoint(directory / "checkpoints" / "last.ckpt")["resume_point"]["batch"] == 1
    effdet.train([f"resume={directory}", "trainer.max_steps=-1"])
    ended, whole = (read_checkpoint(path / "checkpoints" / "last.ckpt") for path in (directory, distilled))
    for key in ("state_dict", "raw_state_dict", "extra_state_dict", "optimizer_states", "global_step"):
        assert equal(ended[key], whole[key]), key


def test_a_resume_with_another_teacher_is_refused(teacher, distilled, tmp_path):
    with pytest.raises(ConfigError, match="teacher="):
        effdet.train([f"run_dir={distilled}", "resume=auto", f"teacher={tmp_path}", "trainer.max_epochs=3"])
    with pytest.raises(ConfigError, match=r"distillation\.features"):
        effdet.train([f"run_dir={distilled}", "resume=auto", "distillation.features=1", "trainer.max_epochs=3"])


def test_a_teacher_that_has_changed_is_refused(teacher, distilled, tmp_path):
    path = teacher / "checkpoints" / "best.ckpt"
    kept = path.read_bytes()
    model = effdet.load(teacher)
    saved = read_checkpoint(path)
    saved["state_dict"] = {name: value + 1 for name, value in model.state_dict().items()}
    torch.save(saved, path)
    try:
        with pytest.raises(UserError, match=r"data\.teacher\.sha256"):
            effdet.train([f"resume={distilled}", "trainer.max_epochs=3"])
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["teacher=nothing/here"], "teacher=nothing/here: no such file or folder"),
        (["teacher=tf_efficientdet_d9"], "teacher=tf_efficientdet_d9: neither a file nor a model"),
        (["teacher=tf_efficientdet_d1"], "teacher=tf_efficientdet_d1: its weights are not on this disk"),
        (["teacher=model.onnx"], "teacher=model.onnx: an exported file only predicts"),
        (["distillation.features=2"], "distillation.features=2 has no effect without a teacher: give teacher=PATH too"),
    ],
)
def test_what_is_refused_before_any_work(overrides, text, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError) as caught:
        effdet.train([*SMALL, f"run_dir={tmp_path / 'x'}", *overrides])
    assert str(caught.value).startswith(text) and "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_run_cannot_learn_from_itself(distilled):
    for path in (distilled, distilled / "checkpoints" / "best.ckpt"):
        with pytest.raises(UserError, match="is the run itself"):
            effdet.train([*SMALL, f"run_dir={distilled}", "overwrite=true", f"teacher={path}"])
    assert (distilled / "checkpoints" / "last.ckpt").is_file()


def test_a_teacher_of_another_task_is_refused(teacher, tmp_path):
    with pytest.raises(UserError, match="use a teacher of the same task"):
        effdet.train([*SMALL, "task=segmentation", f"run_dir={tmp_path / 'x'}", f"teacher={teacher}"])
    assert not (tmp_path / "x").exists()
