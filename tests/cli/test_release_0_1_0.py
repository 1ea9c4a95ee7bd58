"""Files written by release 0.1.0 (``release_0_1_0/``): loaded, resumed, evaluated and compared under the new names."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

import effdet
from effdet.cli.app import main
from effdet.renamed import RENAMED, new_name, renew, renew_overrides
from effdet.report.statistics.files import read_statistics
from effdet.search.store import StudyStore
from effdet.training import read_checkpoint
from heads.structures import UserError
from tests.cli.conftest import problems

FILES = Path(__file__).with_name("release_0_1_0")


@pytest.fixture
def work(tmp_path, monkeypatch, small_coco) -> Path:
    """A folder with the run, its model file and its data, as it was when 0.1.0 trained."""
    shutil.copytree(FILES, tmp_path / "work")
    (tmp_path / "work" / "set").symlink_to(small_coco, target_is_directory=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def columns(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_a_run_resumes(work, capsys):
    """Fails if one fact, the data's fingerprint or one key of the configuration is not recognised."""
    before = read_checkpoint("run/checkpoints/last.ckpt")
    assert before["resume_point"]["epoch"] == 2 and before["facts"]["data"]["freeze_epochs"] == 1
    assert main(["train", "run_dir=run", "resume=auto", "trainer.max_epochs=3"]) == 0
    assert "finished: 3 epochs" in capsys.readouterr().out
    saved = yaml.safe_load(Path("run/config.yaml").read_text())
    assert (saved["max_images"], saved["score_threshold"], saved["freeze_epochs"]) == (3, 0.01, 1)
    assert saved["optimizer"]["base_batch_size"] == 32 and "lr_per" not in saved["optimizer"]
    assert saved["head"]["detection"]["anchors"]["scales_per_octave"] == 2
    assert saved["head"]["detection"]["loss"]["normalizer"] == "paper"
    names = columns(Path("run/metrics.csv"))
    assert "images_per_second" in names and "pictures_per_second" not in names
    assert len(Path("run/metrics.csv").read_text().splitlines()) >= 4  # the rows of 0.1.0, and that of the third epoch
    after = read_checkpoint("run/checkpoints/last.ckpt")
    assert after["resume_point"]["epoch"] == 3


def test_a_run_is_evaluated_to_the_same_predictions(work):
    old, metrics = (
        json.loads(Path("run/predictions.json").read_text()),
        json.loads(Path("run/metrics.json").read_text()),
    )
    assert main(["evaluate", "model=run", "out=again", "report=false"]) == 0
    new = json.loads(Path("again/predictions.json").read_text())
    assert len(new) == len(old) == 30
    for ours, theirs in zip(new, old, strict=True):
        assert (ours["image_id"], ours["category_id"]) == (theirs["image_id"], theirs["category_id"])
        assert [*ours["bbox"], ours["score"]] == pytest.approx([*theirs["bbox"], theirs["score"]], rel=1e-4, abs=1e-3)
    assert json.loads(Path("again/metrics.json").read_text())["images"] == metrics["pictures"] == 3


def test_a_model_file_keeps_its_settings(work):
    model = effdet.load("model.safetensors")
    head = model.heads["detection"]
    assert head.anchor_spec.scales_per_octave == 2 and head.loss_settings.normalizer == "paper"  # type: ignore[union-attr]
    assert head.postprocess.score_threshold == 0.01  # type: ignore[union-attr]


def test_two_evaluations_are_compared(work, capsys):
    recorded = read_statistics(FILES / "run" / "statistics.npz")
    assert list(recorded.images["detection"]) == ["1", "2", "3"]
    assert main(["evaluate", "model=run", "out=again", "report=false"]) == 0
    assert main(["compare", "run", "again", "out=compared"]) == 0


def test_a_study_is_the_same_under_the_new_names(tmp_path):
    path = shutil.copy(FILES / "study.sqlite", tmp_path)
    import sqlite3

    with sqlite3.connect(path) as study:
        ((text,),) = study.execute("SELECT value FROM study WHERE key = 'settings'").fetchall()
    old = json.loads(text)
    assert "limit=4" in old["trainings"]
    new = sorted(item.replace("limit=", "max_images=") for item in old["trainings"])
    with StudyStore(Path(path), {**old, "trainings": new}) as store:
        assert len(store.trials()) == 1
    with pytest.raises(UserError, match="other settings"), StudyStore(Path(path), {**old, "trainings": ["seed=1"]}):
        pass


def test_an_exported_files_description_is_read():
    assert renew({"format": "onnx", "postprocess": {"score": 0.2}})["postprocess"] == {"score_threshold": 0.2}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limit=3", "limit: renamed to max_images"),
        ("score=0.1", "score: renamed to score_threshold"),
        ("head_epochs=1", "head_epochs: renamed to freeze_epochs"),
        ("optimizer.lr_per=8", "optimizer.lr_per: renamed to optimizer.base_batch_size"),
        ("head.detection.anchors.octaves=1", "head.detection.anchors.octaves: renamed to head.detection.anchors."
         "scales_per_octave"),
        ("head.detection.loss.normaliser=paper", "head.detection.loss.normaliser: renamed to head.detection.loss.normalizer"),
    ],
)  # fmt: skip
def test_an_old_key_says_its_new_name(old, new):
    assert problems("train", old) == [new]


def test_an_old_key_in_a_users_file(own_files):
    folder = own_files({"experiment/mine.yaml": "# @package _global_\nlimit: 3\noptimizer:\n  lr_per: 8\n"})
    found = "\n".join(problems("train", "experiment=mine", config_dir=folder))
    assert "limit: renamed to max_images" in found and "optimizer.lr_per: renamed to optimizer.base_batch_size" in found


def test_names():
    assert new_name("gate.pictures") == "gate.images" and new_name("score_threshold") is None
    assert new_name("serve.score") is None  # only the names that 0.1.0 had
    assert renew({"StartEvaluation": {"score": 1}}) == {"StartEvaluation": {"score": 1}}
    assert renew_overrides(["limit=4", "data.root=x=y"]) == ["data.root=x=y", "max_images=4"]
    assert not set(RENAMED) & set(RENAMED.values())
