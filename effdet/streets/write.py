"""Writes the set to disk: each image once, its label maps in Cityscapes form, its boxes in COCO form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from effdet.streets.labels import THINGS, Label
from effdet.streets.render import Scene, scene
from effdet.streets.rng import SPLITS
from effdet.workers import cores

CITY = "streets"
_FEW = 24
"""Up to this many images, starting processes would cost more than drawing."""


def stem(seed: int, index: int) -> str:
    """Cityscapes' CITY_SEQUENCE_FRAME: the seed counts as sequence."""
    return f"{CITY}_{seed % 1_000_000:06d}_{index:06d}"


def categories() -> list[dict[str, Any]]:
    """COCO categories: the official Cityscapes ids of the eight thing classes."""
    human = (Label.PERSON, Label.RIDER)
    return [
        {"id": key, "name": name, "supercategory": "human" if key in human else "vehicle"}
        for key, name in THINGS.items()
    ]


def scene_annotations(drawn: Scene) -> list[dict[str, Any]]:
    """COCO annotations of one scene, without ids. Boxes are x, y, width, height in pixels."""
    found = []
    for row, number in enumerate(drawn.instances.tolist()):
        mask = drawn.instance_ids == number
        packed: Any = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        x0, y0, x1, y1 = drawn.boxes[row].tolist()
        found.append(
            {
                "category_id": int(drawn.labels[row]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": int(mask.sum()),
                "iscrowd": 0,
                "segmentation": {"size": list(mask.shape), "counts": packed["counts"].decode("ascii")},
                "instance": number,
                "occlusion": round(float(drawn.occlusion[row]), 4),
                "identity": int(drawn.identities[row]),
            }
        )
    return found


def write_scene(directory: Path, drawn: Scene, split: str, name: str) -> None:
    """The image and its two label maps."""
    images, truth = directory / "leftImg8bit" / split / CITY, directory / "gtFine" / split / CITY
    for path, pixels in (
        (images / f"{name}_leftImg8bit.png", drawn.image[..., ::-1]),
        (truth / f"{name}_gtFine_labelIds.png", drawn.label_ids),
        (truth / f"{name}_gtFine_instanceIds.png", drawn.instance_ids),
    ):
        if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 2]):
            raise OSError(f"{path} could not be written: is the disk full?")


def draw_share(
    directory: Path, size: tuple[int, int], seed: int, counts: dict[str, int], share: int, shares: int
) -> Iterator[dict[str, Any]]:
    """Draw and write every `shares`-th image, from `share` on; yield each one's record."""
    jobs = [(split, index) for split in SPLITS for index in range(counts[split])]
    for split, index in jobs[share::shares]:
        drawn = scene(seed, split, index, size)
        name = stem(seed, index)
        write_scene(directory, drawn, split, name)
        yield {
            "split": split,
            "index": index,
            "weather": drawn.weather,
            "time": drawn.time,
            "annotations": scene_annotations(drawn),
        }


def write(
    directory: Path,
    size: tuple[int, int],
    seed: int,
    counts: dict[str, int],
    *,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Fill an empty folder with the whole set."""
    for split in SPLITS:
        for kind in ("leftImg8bit", "gtFine"):
            (directory / kind / split / CITY).mkdir(parents=True)
    total = sum(counts.values())
    workers = cores() if workers is None else workers
    if workers <= 1 or total <= _FEW:
        records = draw_share(directory, size, seed, counts, 0, 1)
    else:
        records = _in_processes(directory, size, seed, counts, min(workers, total))
    gathered = list(_with_bar(records, total, size) if progress else records)
    (directory / "annotations").mkdir()
    for split in SPLITS:
        mine = sorted((record for record in gathered if record["split"] == split), key=lambda record: record["index"])
        (directory / "annotations" / f"instances_{split}.json").write_text(json.dumps(_coco(mine, size, seed, split)))


def _coco(records: list[dict[str, Any]], size: tuple[int, int], seed: int, split: str) -> dict[str, Any]:
    images, found = [], []
    for record in records:
        image_id = record["index"] + 1
        images.append(
            {
                "id": image_id,
                "file_name": f"{CITY}/{stem(seed, record['index'])}_leftImg8bit.png",
                "height": size[0],
                "width": size[1],
                "weather": record["weather"],
                "time": record["time"],
            }
        )
        found += [{"id": 0, "image_id": image_id, **annotation} for annotation in record["annotations"]]
    for number, annotation in enumerate(found, start=1):
        annotation["id"] = number
    info = {"description": f"streets: generated street scenes, split {split}", "seed": seed}
    return {"info": info, "images": images, "annotations": found, "categories": categories()}


def _with_bar(records: Iterable[dict[str, Any]], total: int, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(f"drawing streets {size[1]}×{size[0]}", total=total)
        for record in records:
            bar.advance(task)
            yield record


# Drawing imports no PyTorch, which takes seconds.
_CHILD = """
import json, sys
from pathlib import Path
import cv2
cv2.setNumThreads(1)
from effdet.streets.write import draw_share
directory, size, *job = json.loads(sys.argv[1])
for record in draw_share(Path(directory), tuple(size), *job):
    print(json.dumps(record), flush=True)
"""


def _in_processes(
    directory: Path, size: tuple[int, int], seed: int, counts: dict[str, int], workers: int
) -> Iterator[dict[str, Any]]:
    """Share the images out among fresh interpreters; their records come back as lines.

    Fresh interpreters, not `multiprocessing`: that would need the caller's script to guard its main part, and could not
    be used from a data loader's worker.
    """
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH")))),
        "OMP_NUM_THREADS": "1",
    }
    children: list[subprocess.Popen[str]] = []
    try:
        for share in range(workers):
            command = [sys.executable, "-c", _CHILD, json.dumps([str(directory), size, seed, counts, share, workers])]
            children.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8")
            )
        lines = [child.stdout for child in children if child.stdout is not None]
        # Shares are equal, so that reading one line of each in turn keeps no child waiting for long.
        while lines:
            for stream in list(lines):
                line = stream.readline()
                if line:
                    yield json.loads(line)
                else:
                    lines.remove(stream)
        for child in children:
            if child.wait() != 0:
                raise RuntimeError(f"drawing streets failed with code {child.returncode}: see its message above")
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
