"""The loader: decoded and augmented pictures in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from benchmarks.peers.loop import Work
from effdet.cli.folder import conf_dir
from effdet.data import AugmentSpec, DataSpec, TrainLoader, TrainSet, open_source
from effdet.model import spec_for


def loader(root: str, size: int, workers: int, augment: str = "default") -> Work:
    """The training loader on COCO's val2017 pictures, under one of the named augmentations."""
    source = open_source(DataSpec(name="coco", root=Path(root), split="val"))
    settings = AugmentSpec(**yaml.safe_load((conf_dir() / "augment" / f"{augment}.yaml").read_text(encoding="utf-8")))
    preprocess = spec_for("tf_efficientdet_d0", image_size=size).preprocess
    batches = TrainLoader(TrainSet(source, preprocess, augment=settings), 8, workers=workers)
    seen: list[int] = []

    def run() -> None:
        batches.set_epoch(len(seen))
        seen.append(sum(len(batch) for batch in batches))

    return Work(run, lambda: {"pictures": np.array(seen[:1])})


def decode(root: str) -> Work:
    """Bare JPEG decoding with Pillow."""
    paths = sorted(Path(root, "val2017").glob("*.jpg"))
    seen: list[int] = []

    def run() -> None:
        seen.append(sum(np.asarray(Image.open(path).convert("RGB")).ndim == 3 for path in paths))

    return Work(run, lambda: {"pictures": np.array(seen[:1])})
