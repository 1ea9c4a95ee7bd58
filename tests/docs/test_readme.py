"""README's tour, command by command and from Python, on four images and with a model of a few steps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.commands import ROOT, Shown, shown_commands
from tests.docs.conftest import TINY

TOUR = [shown for shown in shown_commands() if shown.page == "README.md"]
SMALL = tuple(text for text in TINY if not text.startswith("phi="))
ADDED: dict[str, tuple[str, ...]] = {
    "evaluate model=": ("workers=0",),
    "predict model=": (),
    "doctor data=": ("workers=0",),
    "train data=coco": (*SMALL, "trainer.fast_dev_run=1"),
    "train backbone=timm": ("data=coco", "data.root=COCO", *SMALL, "trainer.fast_dev_run=1"),
    "train task=driving": (*SMALL, "trainer.fast_dev_run=1", "data=mixed", "data.boxes.name=coco", "data.boxes.root=COCO",
                           "data.masks.name=masks", "data.masks.root=MASKS", "data.masks.classes=[ground,square]"),
    "train run_dir=": ("trainer.max_epochs=2",),
    "export model=": (),
    "scale fit": ("image_size=64", "runs=5", "num_classes=2"),
    "compare runs/x": (),
}  # fmt: skip
"""What makes each command small, by how it begins."""


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_run: Path, small_coco: Path) -> Path:
    place = tmp_path_factory.mktemp("tour")
    shutil.copytree(small_coco, place / "COCO")
    shutil.copytree(small_coco / "val2017", place / "IMAGES")
    shutil.copy(small_coco / "val2017/1.png", place / "street.jpg")
    for split in ("train", "val"):
        shutil.copytree(small_coco / f"{split}2017", place / "MASKS/images" / split)
        (place / "MASKS/masks" / split).mkdir(parents=True)
        for path in (place / "MASKS/images" / split).iterdir():
            bright = np.asarray(Image.open(path)).max(2) > 200
            Image.fromarray(bright.astype(np.uint8)).save(place / "MASKS/masks" / split / path.name)
    for name in ("runs/x", "runs/y", "runs/detection-streets-phi-4-1"):
        shutil.copytree(tiny_run, place / name)
    return place


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _run(command: list[str], place: Path) -> str:
    done = subprocess.run(
        command, cwd=place, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tour_is_known() -> None:
    assert len(TOUR) >= 10
    known = (*ADDED, "serve")
    assert [shown for shown in TOUR if not any(_text(shown).startswith(start) for start in known)] == []


def _text(shown: Shown) -> str:
    return f"{shown.command} {' '.join(shown.arguments)}"


@pytest.mark.slow
@pytest.mark.parametrize("shown", [shown for shown in TOUR if shown.command != "serve"], ids=_text)
def test_a_command_of_the_tour_runs(shown: Shown, place: Path) -> None:
    added = next(overrides for start, overrides in ADDED.items() if _text(shown).startswith(start))
    arguments = [text for text in shown.arguments if text != "weights=auto"]  # which downloads
    output = _run([sys.executable, "-m", "effdet", shown.command, *arguments, *added], place)
    written = Path(place, output.strip().splitlines()[-1])
    assert written.exists() or "fast_dev_run" in " ".join(added), output


@pytest.mark.slow
def test_the_tour_serves(place: Path) -> None:
    shown = next(shown for shown in TOUR if shown.command == "serve")
    command = [sys.executable, "-u", "-m", "effdet", "serve", *shown.arguments, "port=0"]
    with subprocess.Popen(command, cwd=place, env=_environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = next(found.group() for line in process.stdout if (found := re.search(r"http://[\d.:]+", line)))
        page = urllib.request.urlopen(address, timeout=30).read()
        process.terminate()
    assert b"<html" in page.lower()


@pytest.mark.slow
def test_the_lines_of_python_run(place: Path) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    _run([sys.executable, "-c", lines], place)
    assert (place / "out.jpg").stat().st_size > 500
