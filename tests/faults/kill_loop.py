"""One training, killed (SIGKILL) again and again at random moments, against the same training without interruption.

    python -m tests.faults.kill_loop --kills 20 --workers 2

Both go through the command line, on a few generated images with the default augmentation and drop-path. Every start is a
fork of this process, which has the imports behind it; a kill may hit anything from the reading of the words on: the
pre-flight, a step, a save (which is on the disk half), an evaluation. In the end weights, average, optimiser, schedule and
``metrics.csv`` must be equal bit for bit. Exit code 0: they are.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

COMPARED = ("state_dict", "raw_state_dict", "optimizer_states", "lr_schedulers", "position", "global_step", "callbacks")
TIMED = ("images_per_second", "memory_gib")
EARLY = 0.25
"""Share of kills at any moment after the start; the others come after the first save, so that the run gets on."""


def write_images(root: Path, count: int = 6) -> Path:
    """A COCO set of `count` noisy 96 × 80 images a split, with one or two squares in each."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        directory = root / f"{split}2017"
        directory.mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            image = Image.fromarray(rng.integers(0, 90, (80, 96, 3), dtype=np.uint8))
            for _ in range(1 + number % 2):
                x, y, side = (int(value) for value in rng.integers((2, 2, 20), (60, 45, 34)))
                ImageDraw.Draw(image).rectangle(
                    [x, y, x + side, y + side], fill=((250, 40, 40), (40, 250, 40))[side % 2]
                )
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "category_id": 1 + side % 2, "iscrowd": 0,
                     "bbox": [x, y, side, side], "area": side * side}
                )  # fmt: skip
            image.save(directory / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 80})
        truth = {"images": images, "annotations": annotations,
                 "categories": [{"id": 1, "name": "green"}, {"id": 2, "name": "red"}]}  # fmt: skip
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(truth))
    return root


def write_shards(data: Path, root: Path) -> Path:
    """The same images in shards of two or three."""
    from effdet.cli.app import main

    for split in ("train", "val"):
        out = [f"split={split}", f"out={root}", "megabytes=0.04"]
        assert main(["shards", "data=coco", f"data.root={data}", *out]) == 0
    return root


def overrides(name: str, data: Path, run_dir: Path, *, workers: int, epochs: int) -> list[str]:
    """The same for every start, as a job manager would give them."""
    return [
        "train", f"data={name}", f"data.root={data}", "phi=-4", "image_size=64", "weights=none", "batch_size=2",
        "device=cpu", "logger=null", "progress=false", "backbone.drop_path=0.2", f"workers={workers}",
        f"trainer.max_epochs={epochs}", f"evaluation.every={max(epochs // 3, 1)}", "checkpoint.every_steps=1",
        "checkpoint.max_share=1.0", f"run_dir={run_dir}", "resume=auto",
    ]  # fmt: skip


def start(arguments: list[str], log: Path) -> int:
    """A command in a process (and group) of its own; gives its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        from effdet.cli.app import main

        code = main(arguments)
    finally:
        os._exit(code)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(arguments: list[str], run_dir: Path, log: Path, *, kills: int, seconds: float, seed: int) -> Counter[str]:
    """Start, kill, start again; after `kills` of them let it finish. Counts what was going on at each kill."""
    generator = random.Random(seed)
    found: Counter[str] = Counter()
    last = run_dir / "checkpoints" / "last.ckpt"
    while sum(found.values()) < kills:
        before = _changed(last)
        child = start(arguments, log)
        began = time.monotonic()
        early = generator.random() < EARLY
        pause = generator.uniform(0, seconds)
        while not early and _changed(last) == before and time.monotonic() - began < 300:
            if os.waitpid(child, os.WNOHANG)[0]:
                raise RuntimeError(f"the run ended after {sum(found.values())} kills: make it longer, or look at {log}")
            time.sleep(0.005)
        time.sleep(pause)
        saving = any((run_dir / "checkpoints").glob(".*.part*"))
        os.killpg(child, signal.SIGKILL)
        status = wait(child)
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the run ended with {status} before it was killed; look at {log}")
        found["in a save" if saving else "before the first save" if _changed(last) == before else "elsewhere"] += 1
    if (status := wait(start(arguments, log))) != 0:
        raise RuntimeError(f"the last run ended with {status}; look at {log}")
    return found


def differences(a: Path, b: Path) -> list[str]:
    """What differs between two finished runs."""
    from effdet.training import read_checkpoint

    first, second = (read_checkpoint(directory / "checkpoints" / "last.ckpt") for directory in (a, b))
    found = [key for key in COMPARED if not _equal(first[key], second[key])]
    if _rows(a) != _rows(b):
        found.append("metrics.csv")
    if leftover := [path.name for path in (b / "checkpoints").iterdir() if ".part" in path.name]:
        found.append(f"left over: {', '.join(leftover)}")
    return found


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in TIMED} for row in csv.DictReader(file)]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--data", choices=("coco", "shards"), default="coco")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=2.0, help="longest wait before a kill, after the first save")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import effdet.cli.train  # noqa: F401  (once, for all starts)

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        data, log = write_images(root / "data"), root / "log.txt"
        if options.data == "shards":
            data = write_shards(data, root / "shards")
        common = {"workers": options.workers, "epochs": options.epochs}
        said = {name: overrides(options.data, data, root / name, **common) for name in ("whole", "corrupt")}
        if wait(start(said["whole"], log)) != 0:
            print(log.read_text()[-3000:])
            return 1
        uninterrupted = time.monotonic() - began
        try:
            found = killed(
                said["corrupt"], root / "corrupt", log, kills=options.kills, seconds=options.seconds, seed=options.seed
            )
        except RuntimeError as error:
            print(log.read_text()[-3000:])
            print(error)
            return 1
        wrong = differences(root / "whole", root / "corrupt")
    where = ", ".join(f"{count} {moment}" for moment, count in found.items())
    print(f"{options.kills} kills, {options.workers} workers, {options.data}: {where}")
    print(f"uninterrupted {uninterrupted:.0f} s, all {time.monotonic() - began:.0f} s")
    print(f"differs: {', '.join(wrong)}" if wrong else "equal bit for bit: " + ", ".join((*COMPARED, "metrics.csv")))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
