"""``data.unlabelled=``: a run that learns from images without labels, from the command line to its files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

import effdet
from effdet.cli.overrides import ConfigError
from effdet.data.checks import DataError
from effdet.streets import scene
from effdet.training import read_checkpoint
from heads.structures import UserError
from tests.cli.test_teacher import LONG, SMALL
from tests.training.fakes import equal

EARLY = ["pseudo_labels.start=0", "pseudo_labels.ramp=0"]
"""A weight that does not depend on where the run is to end."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    """Seven street scenes."""
    directory = tmp_path_factory.mktemp("pool") / "a pool, of images"
    (directory / "deep").mkdir(parents=True)
    for index in range(7):
        name = f"deep/{index}.png" if index % 2 else f"{index}.png"
        Image.fromarray(scene(5, "train", index, 96).image).save(directory / name)
    return directory


@pytest.fixture(scope="module")
def learnt(pool, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("learnt") / "run"
    report = [override for override in SMALL if override != "report=false"]
    effdet.train([*report, *LONG, *EARLY, f"data.unlabelled={pool}", f"run_dir={directory}"])
    return directory


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_what_it_learnt_and_from_what_is_written(learnt):
    steps = [row for row in rows(learnt) if row["loss"]]
    assert len(steps) == 6 and all(float(row["unlabelled/detection_class"]) > 0 for row in steps)
    epochs = [row for row in rows(learnt) if row["pseudo/detection_confidence"]]
    assert [row["step"] for row in epochs] == ["3", "6"]
    for row in epochs:
        assert 0 < float(row["pseudo/detection_confidence"]) < 1
        assert sum(float(value or 0) for name, value in row.items() if name.startswith("pseudo/detection/")) > 0
    assert (learnt / "pseudo_labels.jpg").is_file()
    page = (learnt / "report.html").read_text()
    assert "Pseudo-labels" in page and "Amount by class" in page


def test_the_model_holds_nothing_of_it(learnt):
    saved, model = read_checkpoint(learnt / "checkpoints" / "last.ckpt"), effdet.load(learnt)
    assert set(saved["state_dict"]) == set(saved["raw_state_dict"]) == set(model.state_dict())
    assert "AP" in effdet.evaluate([f"model={learnt}", "device=cpu", "workers=0", "report=false"]).metrics


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resume_in_the_middle_is_exact_with_any_workers(workers, pool, learnt, tmp_path):
    directory = tmp_path / "stopped"
    overrides = [*SMALL, *LONG, *EARLY, f"data.unlabelled={pool}", f"run_dir={directory}", "trainer.max_steps=4"]
    effdet.train([*(item for item in overrides if not item.startswith("workers=")), f"workers={workers}"])
    assert read_checkpoint(directory / "checkpoints" / "last.ckpt")["resume_point"]["batch"] == 1
    effdet.train([f"resume={directory}", "trainer.max_steps=-1"])
    ended, whole = (read_checkpoint(path / "checkpoints" / "last.ckpt") for path in (directory, learnt))
    for key in ("state_dict", "raw_state_dict", "extra_state_dict", "optimizer_states", "global_step"):
        assert equal(ended[key], whole[key]), key
    pseudo = [[row[name] for name in row if name.startswith("pseudo/")] for row in rows(directory)]
    assert pseudo[-2:] == [[row[name] for name in row if name.startswith("pseudo/")] for row in rows(learnt)][-2:]


def test_a_resume_with_other_images_is_refused(pool, learnt, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.unlabelled_ratio=2"):
        effdet.train([f"resume={learnt}", "trainer.max_epochs=3", "data.unlabelled_ratio=2"])
    more = pool / "more.png"
    Image.new("RGB", (90, 90)).save(more)
    try:
        with pytest.raises(UserError, match=r"data\.unlabelled\.images"):
            effdet.train([f"resume={learnt}", "trainer.max_epochs=3"])
    finally:
        more.unlink()


def test_a_list_and_a_pattern_name_images_too(pool, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(str(pool / f"{index}.png") for index in (0, 2, 4)))
    for number, source in enumerate((listing, f"{pool}/**/*.png")):
        short = ["trainer.max_epochs=1", "trainer.limit_val_batches=0", f"run_dir={tmp_path / str(number)}"]
        effdet.train([*SMALL, *short, *EARLY, f"data.unlabelled={source}"])
    assert (tmp_path / "1" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_other_tasks_learn_so_too(task, pool, tmp_path):
    short = ["trainer.max_epochs=1", f"task={task}", f"run_dir={tmp_path / 'x'}", "pseudo_labels.confidence=0"]
    effdet.train([*SMALL, *short, *EARLY, f"data.unlabelled={pool}"])
    head = "semantic" if task == "segmentation" else task
    assert float(next(row for row in rows(tmp_path / "x") if row["loss"])[f"unlabelled/{head}_{_term(task)}"]) > 0


def _term(task: str) -> str:
    return "pixels" if task == "segmentation" else "class"


def test_faults_are_named_before_any_work(pool, tmp_path):
    def error(*overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            effdet.train([*SMALL, f"run_dir={tmp_path / 'x'}", *overrides])
        assert not (tmp_path / "x").exists() and "\n" not in str(caught.value)
        return str(caught.value)

    given = f"data.unlabelled={pool}"
    assert error(given, "ema=false").endswith("its labels come from the averaged weights, and ema=false has none")
    assert "which has no known end" in error(given, "trainer.max_epochs=-1", "trainer.max_time=1h")
    assert error("pseudo_labels.weight=3").startswith("pseudo_labels.weight=3 has no effect without images")
    assert error("data.unlabelled_ratio=3").startswith("data.unlabelled_ratio=3 has no effect without images")
    assert error("data.unlabelled=nowhere").startswith("data.unlabelled=nowhere: no such image, folder")
    assert "can't learn from images without labels" in error(given, "task=embedding")


def test_unreadable_images_are_named(pool, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for index in (0, 2, 4):
        (own / f"{index}.png").write_bytes((pool / f"{index}.png").read_bytes())
    whole = (own / "2.png").read_bytes()
    (own / "2.png").write_bytes(whole[: len(whole) // 2])
    (own / "3.png").write_bytes(b"no image")
    base = [*SMALL, *EARLY, "trainer.max_epochs=1", f"run_dir={tmp_path / 'x'}", f"data.unlabelled={own}"]
    with pytest.raises(DataError, match=r"3\.png"):
        effdet.train(base)
    (own / "3.png").unlink()
    with pytest.raises(DataError, match=r"2\.png"):
        effdet.train(base)
    assert not (tmp_path / "x").exists()
    effdet.train([*base, "data.unreadable=warn", "trainer.limit_val_batches=0"])


def test_images_of_val_are_refused(small_coco, tmp_path):
    base = ["data=coco", f"data.root={small_coco}", *(item for item in SMALL if not item.startswith("data="))]
    with pytest.raises(
        DataError, match="4 of its 8 images are images of val, which a training must not see: .*val2017"
    ):
        effdet.train([*base, f"run_dir={tmp_path / 'x'}", f"data.unlabelled={small_coco}"])
