"""The set on disk: COCO and Cityscapes form agree; the cache is whole or rebuilt, whoever writes it."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from effdet import streets
from effdet.streets import THINGS, cache, scene
from heads.structures import UserError

COUNTS = {"train": 4, "val": 3, "test": 1}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streets.ensure((96, 128), 5, **COUNTS, root=tmp_path_factory.mktemp("sets"), progress=False)


def read(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


@pytest.mark.parametrize("split", list(COUNTS))
def test_boxes_are_the_same_in_both_forms(directory: Path, split: str):
    table = json.loads((directory / "annotations" / f"instances_{split}.json").read_text())
    assert len(table["images"]) == COUNTS[split]
    assert [a["id"] for a in table["annotations"]] == list(range(1, len(table["annotations"]) + 1))
    for image in table["images"]:
        name = image["file_name"].removesuffix("_leftImg8bit.png")
        assert read(directory / "leftImg8bit" / split / image["file_name"]).shape == (
            image["height"],
            image["width"],
            3,
        )
        instances = read(directory / "gtFine" / split / f"{name}_gtFine_instanceIds.png").astype(int)
        label_ids = read(directory / "gtFine" / split / f"{name}_gtFine_labelIds.png")
        assert np.array_equal(np.where(instances >= 1000, instances // 1000, instances), label_ids)
        cityscapes = []
        for number in np.unique(instances[instances >= 1000]).tolist():
            rows, columns = np.nonzero(instances == number)
            x, y = int(columns.min()), int(rows.min())
            cityscapes.append((number // 1000, [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y], len(rows)))
        coco = [(a["category_id"], a["bbox"], a["area"]) for a in table["annotations"] if a["image_id"] == image["id"]]
        assert sorted(coco) == sorted(cityscapes)


def test_pycocotools_reads_it(directory: Path):
    coco = COCO(str(directory / "annotations" / "instances_train.json"))
    assert {row["id"]: row["name"] for row in coco.dataset["categories"]} == THINGS
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation["area"] and annotation["iscrowd"] == 0
        assert annotation["identity"] // 10_000 == annotation["category_id"]  # of train: no split offset


def test_files_hold_the_scenes(directory: Path):
    drawn = scene(5, "val", 2, (96, 128))
    stored = read(directory / "leftImg8bit/val/streets/streets_000005_000002_leftImg8bit.png")
    assert np.array_equal(stored[..., ::-1], drawn.image)
    image = json.loads((directory / "annotations/instances_val.json").read_text())["images"][2]
    assert (image["weather"], image["time"]) == (drawn.weather, drawn.time)


def test_fresh_processes_draw_the_same_bytes_as_this_one(directory: Path, tmp_path: Path):
    from effdet.streets import write

    work = tmp_path / "two"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_FEW", 0)
        write.write(work, (96, 128), 5, COUNTS, workers=2, progress=False)
    for path in sorted(work.rglob("*.*")):
        assert path.read_bytes() == (directory / path.relative_to(work)).read_bytes(), path


def _ensure(root: Path, reported: multiprocessing.Queue[str]) -> None:
    reported.put(str(streets.ensure(64, 1, train=6, val=2, test=0, root=root, workers=1, progress=False)))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_at_once_write_one_whole_set(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    reported = context.Queue()
    both = [context.Process(target=_ensure, args=(tmp_path, reported)) for _ in range(2)]
    for process in both:
        process.start()
    paths = {reported.get(timeout=120) for _ in both}
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(paths) == 1
    assert cache.is_whole(Path(paths.pop()))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name.startswith(".")] == []


@pytest.mark.parametrize("damage", ["image", "annotations", "manifest", "half"])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, damage: str):
    small = {"train": 2, "val": 0, "test": 0}
    made = streets.ensure(64, 2, **small, root=tmp_path, progress=False)
    image = made / "leftImg8bit/train/streets/streets_000002_000001_leftImg8bit.png"
    before = image.read_bytes()
    if damage == "image":
        image.write_bytes(before[:100])
    elif damage == "annotations":
        path = made / "annotations/instances_train.json"
        path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))
    elif damage == "manifest":
        (made / "manifest.json").write_text("{")
    else:
        shutil.rmtree(made / "gtFine")
    assert not cache.is_whole(made)
    assert streets.ensure(64, 2, **small, root=tmp_path, progress=False) == made
    assert cache.is_whole(made) and image.read_bytes() == before


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(cache, "write", fail)
    with pytest.raises(OSError, match="full"):
        streets.ensure(64, 3, train=1, val=0, test=0, root=tmp_path, progress=False)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    left = tmp_path / f".v{streets.VERSION}-seed6-64x64-1-0-0.part"
    (left / "leftImg8bit").mkdir(parents=True)
    streets.ensure(64, 6, train=1, val=0, test=0, root=tmp_path, progress=False)
    assert not left.exists()


def test_the_cache_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    made = streets.ensure(64, 4, train=1, val=0, test=0, progress=False)
    assert made.parent == tmp_path / "streets"
    assert made.name == f"v{streets.VERSION}-seed4-64x64-1-0-0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 8}, r"size=8 must lie within 32…8192 pixels a side"),
        ({"train": -1}, r"train=-1 must lie within 0…999999 images"),
        ({"seed": -3}, r"seed=-3 must lie within"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, int], message: str):
    with pytest.raises(UserError, match=message):
        streets.ensure(**arguments, root=tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
