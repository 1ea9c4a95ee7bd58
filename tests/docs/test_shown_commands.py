"""Each command that README, the docs and the headers of configuration files show composes and passes its checks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from effdet.cli.app import COMMANDS, prepare
from effdet.cli.compose import swept_overrides
from effdet.cli.multirun import check_jobs, expected_jobs
from effdet.cli.overrides import split_overrides
from effdet.cli.sweep import JobRecord
from tests.docs.commands import Shown, shown_commands

SHOWN = shown_commands()
FOLDERS = (
    "DIR",
    "COCO/train2017",
    "CAMVID",
    "CITYSCAPES",
    "BCCD",
    "IMAGENET",
    "OUT/repaired",
    "SHARDS",
    "FOLDER",
    "runs",
)
FILES = ("COCO/annotations/instances_train2017.json", "mine.json", "model.json", "base.json", "street.jpg", "drive.mp4")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_run: Path) -> Path:
    """A folder with what the pages speak of: runs, folders of images, model files."""
    place = tmp_path_factory.mktemp("place")
    for name in FOLDERS:
        (place / name).mkdir(parents=True)
    for name in FILES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    for name in ("RUN", "runs/x", "runs/a", "runs/b"):
        shutil.copytree(tiny_run, place / name)
    (place / "runs/sweeps/x/0").mkdir(parents=True)
    JobRecord("train", ("seed=0",)).write(place / "runs/sweeps/x/0")
    for name in ("best.json", "baseline.json"):
        (place / "runs/search").mkdir(exist_ok=True)
        (place / "runs/search" / name).touch()
    return place


def _filled(shown: Shown) -> list[str]:
    """With values for the shell's variables and for ``NAME``."""
    texts = [re.sub(r"\$seed\b", "0", argument) for argument in shown.arguments if argument != "$D"]
    return [re.sub(r"^backbone=NAME$", "backbone=b0", text) for text in texts]


def test_pages_show_commands() -> None:
    assert len(SHOWN) > 120
    assert {shown.command for shown in SHOWN} == set(COMMANDS)


# The recipes of extending.md need the files that stand beside them: test_extending.py runs them.
@pytest.mark.parametrize("shown", [shown for shown in SHOWN if shown.page != "docs/extending.md"], ids=str)
def test_a_shown_command_composes_and_passes_its_checks(shown: Shown, place: Path, monkeypatch) -> None:
    monkeypatch.chdir(place)
    command = COMMANDS[shown.command]
    overrides = split_overrides(_filled(shown), positional=command.positional, switches=command.switches)
    assert not overrides.problems
    if overrides.multirun:
        jobs = expected_jobs(swept_overrides(command.name, overrides), basic=True)
        check_jobs(prepare, command, overrides, jobs)
    else:
        prepare(command, overrides)
