"""The loader: decoded and augmented images in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from benchmarks.peers.loop import Work
from effdet.cli.schema import conf_dir
from effdet.data import AugmentSpec, DataSpec, TrainLoader, TrainSet, open_dataset
from effdet.model import spec_for


def loader(root: str, size: int, workers: int, mosaic: float | None = None) -> Work:
    """The training loader on COCO's val2017 images, under the default augmentation; `mosaic` replaces its probability."""
    source = open_dataset(DataSpec(name="coco", root=Path(root), split="val"))
    chosen = yaml.safe_load((conf_dir() / "augment" / "default.yaml").read_text(encoding="utf-8"))
    settings = AugmentSpec(**chosen | ({} if mosaic is None else {"mosaic": mosaic}))
    preprocess = spec_for("tf_efficientdet_d0", image_size=size).preprocess
    batches = TrainLoader(TrainSet(source, preprocess, augment=settings), 8, workers=workers)
    seen: list[int] = []

    def run() -> None:
        batches.set_epoch(len(seen))
        seen.append(sum(len(batch) for batch in batches))

    return Work(run, lambda: {"images": np.array(seen[:1])})


def decode(root: str) -> Work:
    """Bare JPEG decoding with Pillow, of as many images as whole batches of 8 hold."""
    paths = sorted(Path(root, "val2017").glob("*.jpg"))
    paths = paths[: len(paths) // 8 * 8]
    seen: list[int] = []

    def run() -> None:
        seen.append(sum(np.asarray(Image.open(path).convert("RGB")).ndim == 3 for path in paths))

    return Work(run, lambda: {"images": np.array(seen[:1])})
