"""The run folder: a fresh one, unless said otherwise."""

import pytest

from effdet.cli.overrides import ConfigError
from effdet.cli.run import RunDir, holds_run, make, resolve, write_config


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def a_run(path):
    (path / "checkpoints").mkdir(parents=True)
    (path / "checkpoints" / "last.ckpt").touch()
    write_config(path, "seed: 1\n")
    return path


def resolved(run_dir=None, *, resume=None, overwrite=False):
    return resolve(run_dir, resume=resume, overwrite=overwrite, prefix="detection-coco-b0")


def test_folders_are_numbered(root):
    assert str(resolved().path) == "runs/detection-coco-b0-1"
    (root / "runs" / "detection-coco-b0-4").mkdir(parents=True)
    (root / "runs" / "detection-coco-b0-old").mkdir()
    assert str(resolved().path) == "runs/detection-coco-b0-5"


def test_two_runs_at_once_get_two_folders(root):
    first, second = resolved(), resolved()
    assert make(first, overwrite=False).name == "detection-coco-b0-1"
    assert make(second, overwrite=False).name == "detection-coco-b0-2"


def test_nothing_is_made_before_it_is_asked_for(root):
    resolved()
    assert not (root / "runs").exists()


def test_a_run_is_not_overwritten_by_accident(root):
    a_run(root / "x")
    with pytest.raises(ConfigError, match="resume=auto, or replace it by overwrite=true"):
        resolved("x")


def test_overwrite_removes_the_run_and_nothing_else(root):
    path = a_run(root / "x")
    (path / "notes.txt").touch()
    assert make(resolved("x", overwrite=True), overwrite=True) == path
    assert sorted(entry.name for entry in path.iterdir()) == ["notes.txt"]


def test_a_folder_without_a_run_is_used(root):
    (root / "x").mkdir()
    assert resolved("x") == RunDir(root.joinpath("x").relative_to(root))


def test_resume_auto(root):
    assert resolved("x", resume="auto").resume_from is None  # a job's first start says the same overrides
    a_run(root / "x")
    directory = resolved("x", resume="auto")
    assert directory.path == directory.resume_from
    assert make(directory, overwrite=False) == root / "x"
    assert holds_run(root / "x")


def test_resume_auto_finds_the_newest(root):
    with pytest.raises(ConfigError, match="there is no run"):
        resolved(resume="auto")
    for number in (2, 10, 9):
        a_run(root / "runs" / f"detection-coco-b0-{number}")
    assert resolved(resume="auto").path.name == "detection-coco-b0-10"


def test_resume_a_path(root):
    a_run(root / "x")
    assert str(resolved(resume="x").path) == "x"
    directory = resolved(resume="x/checkpoints/last.ckpt")
    assert (str(directory.path), str(directory.resume_from)) == ("x", "x/checkpoints/last.ckpt")
    assert str(resolved("y", resume="x").path) == "y"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"resume": "none"}, "no such run folder or checkpoint"),
        ({"resume": "empty"}, "holds no run"),
        ({"resume": "lone.ckpt"}, "say where to write, run_dir=DIR"),
        ({"run_dir": "x", "resume": "y"}, "holds another run"),
        ({"run_dir": "x", "resume": "auto", "overwrite": True}, "contradict each other"),
        ({"run_dir": "lone.ckpt"}, "is a file"),
    ],
)
def test_what_cannot_be(root, overrides, text):
    a_run(root / "x")
    a_run(root / "y")
    (root / "empty").mkdir()
    (root / "lone.ckpt").touch()
    with pytest.raises(ConfigError, match=text):
        resolved(overrides.pop("run_dir", None), **overrides)
