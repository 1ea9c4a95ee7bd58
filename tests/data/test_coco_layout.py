"""COCO files as tools export them: found by only data.root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from effdet.data import DataError, DataSpec, open_dataset
from effdet.doctor import examine, repair
from tests.data.test_remedies import coco, image, text


def opened(root: Path, split: str = "train", **changes):
    return open_dataset(DataSpec("coco", root=root, split=split, **changes))


def paths(source, root: Path) -> list[str]:
    return [record.image.relative_to(root).as_posix() for record in source.records]


@pytest.mark.parametrize(
    ("annotations", "images", "name", "split"),
    [
        ("annotations/instances_default.json", "images/default/a.png", "a.png", "train"),
        ("annotations/instances_default.json", "images/a.png", "a.png", "train"),
        ("annotations/instances_Train.json", "images/Train/a.png", "a.png", "train"),
        ("annotations/instances_Validation.json", "images/Validation/a.png", "a.png", "val"),
        ("labels.json", "data/a.png", "a.png", "train"),
        ("validation/labels.json", "validation/data/a.png", "a.png", "val"),
        ("train/_annotations.coco.json", "train/a.png", "a.png", "train"),
        ("_annotations.coco.json", "a.png", "a.png", "train"),
        ("result.json", "images/a.png", "images/a.png", "train"),
        ("result.json", "images/a.png", "/data/upload/1/a.png", "train"),
        ("result.json", "images/1/a.png", "..\\images\\1\\a.png", "train"),
        ("annotations.json", "JPEGImages/a.png", "JPEGImages/a.png", "train"),
        ("annotations/train.json", "images/train/a.png", "C:\\set\\images\\train\\a.png", "train"),
        ("annotations/train.json", "train/x/a.png", "train/x/a.png", "train"),
        ("test/annotations.json", "test/images/a.png", "a.png", "test"),
        ("annotations/instances_val2017.json", "val2017/a.png", "a.png", "val"),
    ],
)
def test_layouts(tmp_path: Path, annotations: str, images: str, name: str, split: str) -> None:
    image(tmp_path / images, 1)
    text(tmp_path / annotations, coco(name))
    assert paths(opened(tmp_path, split), tmp_path) == [images]


def test_a_set_of_one_file_is_train(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(12)]
    for index, name in enumerate(names):
        image(tmp_path / "data" / name, index)
    text(tmp_path / "labels.json", coco(*names))
    with pytest.raises(DataError, match=r"no annotations/instances_val\*.json .*data.val_fraction=0.1"):
        opened(tmp_path, "val")
    parts = [opened(tmp_path, split, val_fraction=0.3) for split in ("train", "val")]
    assert sum(map(len, parts)) == 12 and all(map(len, parts))
    found = examine(DataSpec("coco", tmp_path), workers=0, progress=False)
    assert not found.fails("error")


def test_the_folder_inside_the_root_wins(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png", 1)
    image(tmp_path / "second/images/a.png", 2)
    for name in ("../images/a.png", str(tmp_path / "images/a.png")):
        text(tmp_path / "second/annotations/train.json", coco(name))
        assert paths(opened(tmp_path / "second"), tmp_path) == ["second/images/a.png"]
    (tmp_path / "second/images/a.png").unlink()
    assert opened(tmp_path / "second").records[0].image.samefile(tmp_path / "images/a.png")


def test_folders_are_not_cut_where_two_images_would_become_one(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png", 1)
    text(tmp_path / "annotations/train.json", coco("/x/cam1/a.png", "/x/cam2/a.png"))
    with pytest.raises(DataError, match="name the folder with data.train_images=DIR"):
        opened(tmp_path)


def test_repair_of_paths_of_another_machine(tmp_path: Path) -> None:
    for number in (1, 2):
        image(tmp_path / f"set/images/cam{number}/a.png", number)
    text(tmp_path / "set/annotations/train.json", coco("/home/x/images/cam1/a.png", "/home/x/images/cam2/a.png"))
    made = repair(examine(DataSpec("coco", tmp_path / "set"), workers=0, progress=False), tmp_path / "fixed")
    assert made.done == {"image paths rewritten": 2}
    written = json.loads((made.directory / "annotations/train.json").read_text())
    assert [entry["file_name"] for entry in written["images"]] == ["images/cam1/a.png", "images/cam2/a.png"]
    pixels = [opened(made.directory).read_image(record).sum() for record in opened(made.directory).records]
    assert pixels == [opened(tmp_path / "set").read_image(record).sum() for record in opened(tmp_path / "set").records]


def test_equal_names_in_two_folders_are_two_images_after_repair(tmp_path: Path) -> None:
    for number, name in enumerate(("b/a.png", "a.png")):
        image(tmp_path / "set/images" / name, number)
    text(tmp_path / "set/annotations/train.json", coco("b/../b/a.png", "a.png"))
    made = repair(examine(DataSpec("coco", tmp_path / "set"), workers=0, progress=False), tmp_path / "fixed")
    assert len({record.image.resolve() for record in opened(made.directory).records}) == 2
