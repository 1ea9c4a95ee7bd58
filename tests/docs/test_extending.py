"""The recipes of docs/extending.md, run from a folder outside of the package."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from effdet.cli import app
from tests.docs.commands import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu", "progress=false", "report=false",
         "trainer.max_epochs=1", "preflight=false", "max_images=2"]  # fmt: skip
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}


def write_files(section: str, directory: Path, data: Path) -> None:
    """The section's files, each named in a comment of its own at the top."""
    for kind, text in BLOCK.findall(section):
        if kind in ("python", "yaml"):
            (name,) = re.findall(r"^# (\S+\.(?:py|yaml))$", text, re.MULTILINE)[:1]
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("DIR", str(data)), encoding="utf-8")


def commands(section: str, data: Path) -> list[list[str]]:
    text = "\n".join(body for kind, body in BLOCK.findall(section) if kind == "bash").replace("\\\n", " ")
    return [shlex.split(line.replace("DIR", str(data)))[1:] for line in text.splitlines() if line.startswith("effdet ")]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Four images a split in the made-up format of the page."""
    directory = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        lines = []
        for number in range(4):
            pixels = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
            pixels[8:28, 10:34, number % 2] = 250
            Image.fromarray(pixels).save(directory / f"{split}{number}.png")
            lines.append(f"{split}{number}.png; {('red', 'green')[number % 2]} 10 8 34 28")
        (directory / f"{split}.txt").write_text("\n".join(lines))
    return directory


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The current folder, with nothing of the repository on the module search path but the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(Path.cwd()))])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("title", list(SECTIONS))
def test_a_recipe_runs(title, outside, shapes, small_coco):
    section = SECTIONS[title]
    write_files(section, outside, shapes)
    found = commands(section, shapes)
    assert found, "a recipe shows a command"
    for number, overrides in enumerate(found):
        if overrides[0] == "train":
            own_data = any(text.startswith(("data=", "data._target_")) for text in overrides)
            overrides += (
                SMALL + [f"run_dir=run{number}"] + ([] if own_data else ["data=coco", f"data.root={small_coco}"])
            )
        overrides = [text.replace("RUN", "run0") for text in overrides]
        overrides += {"evaluate": ["device=cpu", "workers=0"], "predict": ["device=cpu"]}.get(overrides[0], [])
        assert app.main(overrides) == 0, overrides
        if overrides[0] == "train":
            assert (outside / f"run{number}" / "checkpoints" / "last.ckpt").is_file()
            saved = yaml.safe_load((outside / f"run{number}" / "config.yaml").read_text())
            for target in re.findall(r"_target_[=:] ?([\w.]+)", " ".join(overrides)):
                assert target in str(saved)
    if "diary.txt" in section:
        assert (outside / "diary.txt").read_text() == "0 1\n"
        assert list((outside / "run0").glob("lightning_logs/*/metrics.csv"))


def test_every_kind_of_recipe_is_there():
    assert list(SECTIONS) == [
        "A backbone",
        "A head",
        "A matcher, a class loss, a box loss",
        "A dataset",
        "An augmentation",
        "An optimiser, a schedule, callbacks, loggers",
    ]
