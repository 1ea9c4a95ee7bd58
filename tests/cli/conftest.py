"""A folder of a user's own configuration files, and a small COCO set on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.cli.compose import compose
from effdet.cli.config import Config
from effdet.cli.overrides import ConfigError, split_overrides


def composed(name: str, *overrides: str, config_dir: Path | None = None) -> Config:
    """The configuration of a command's overrides."""
    flags = [] if config_dir is None else ["--config-dir", str(config_dir)]
    return compose(name, split_overrides([*flags, *overrides]))


def problems(name: str, *overrides: str, config_dir: Path | None = None) -> list[str]:
    """What is wrong with a command's overrides."""
    with pytest.raises(ConfigError) as caught:
        composed(name, *overrides, config_dir=config_dir)
    return list(caught.value.problems)


@pytest.fixture
def own_files(tmp_path):
    """``own_files({"data/mine.yaml": text})`` -> the folder."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "own files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "own files"

    return write


@pytest.fixture(scope="session")
def small_coco(tmp_path_factory) -> Path:
    """Four 64 × 48 images a split, each with a bright square of one of two classes."""
    root = tmp_path_factory.mktemp("small") / "a set, with=odd [name]"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        directory = root / f"{split}2017"
        directory.mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, 5):
            pixels = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
            x, y, side = (int(value) for value in rng.integers((2, 2, 16), (30, 20, 26)))
            pixels[y : y + side, x : x + side, number % 2] = 250
            Image.fromarray(pixels).save(directory / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 3 + number % 2,
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]],
                }
            )
        truth = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 3, "name": "red"}, {"id": 4, "name": "green"}],
        }
        path = root / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(truth), encoding="utf-8")
    return root
