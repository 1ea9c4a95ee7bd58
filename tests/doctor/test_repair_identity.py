"""A repaired copy: each file at its own place, what is valid byte for byte, and a line for all that is left out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from effdet.cli.app import main
from effdet.data.open import open_dataset
from effdet.data.spec import DataSpec
from tests.doctor import sets


def doctor(data: str, root: Path, out: Path, *overrides: str) -> dict[str, int]:
    """``effdet doctor doctor.fix=true``; what ``repairs.json`` says."""
    main(
        [
            "doctor",
            f"data={data}",
            f"data.root={root}",
            f"out={out}",
            "doctor.fix=true",
            "doctor.anchors=false",
            *overrides,
        ]
    )
    return json.loads((out / "repaired" / "repairs.json").read_text())


def contents(directory: Path) -> dict[str, bytes]:
    """Path -> content; links count as what they point to."""
    return {
        (Path(top) / name).relative_to(directory).as_posix(): (Path(top) / name).read_bytes()
        for top, _, names in os.walk(directory)
        for name in names
    }


def pixels_and_labels(data: str, root: Path, split: str = "train") -> list[tuple[bytes, list]]:
    """What is learned from each image, sorted."""
    source = open_dataset(DataSpec(data, root, split=split))
    return sorted(
        (source.read_image(record).tobytes(), np.c_[record.labels, record.boxes.round(3)].tolist())
        for record in source.records
    )


def two_cameras(root: Path) -> None:
    """YOLO: two folders with the same two names; each image's label says which one it is."""
    for camera, side in (("camA", 0.2), ("camB", 0.4)):
        for number in (0, 1):
            path = root / camera / "images" / "train" / f"{number}.jpg"
            sets.save(path, 10 * int(side * 10) + number)
            label = root / camera / "labels" / "train" / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(f"{number} 0.5 0.5 {side} {side}\n")
    (root / "data.yaml").write_text("train: [camA/images/train, camB/images/train]\nnames: [car, person]\n")


def test_two_folders_with_images_of_one_name(tmp_path):
    two_cameras(tmp_path / "set")
    before = contents(tmp_path / "set")
    assert doctor("yolo", tmp_path / "set", tmp_path / "out") == {}
    repaired = contents(tmp_path / "out" / "repaired")
    assert {name: content for name, content in repaired.items() if name != "repairs.json"} == before
    assert contents(tmp_path / "set") == before
    learned = pixels_and_labels("yolo", tmp_path / "out" / "repaired")
    assert learned == pixels_and_labels("yolo", tmp_path / "set")
    # By hand: 96 × 64 pixels, boxes of 0.2 and of 0.4 of each side around the middle.
    rows = sorted(row for _, (row,) in learned)
    sizes = [(label, side) for label in (0, 1) for side in (0.4, 0.2)]
    np.testing.assert_allclose(
        rows,
        [[label, 48 - 48 * side, 32 - 32 * side, 48 + 48 * side, 32 + 32 * side] for label, side in sizes],
        atol=1e-3,
    )


def test_two_folders_of_a_coco_set(tmp_path):
    """``file_name`` is a path; one that leaves the folder, and one of the same name inside it, stay two."""
    root = tmp_path / "set"
    sets.coco(root)
    names = ["a/0.png", "b/0.png", "../val2017/0.png", "val2017/0.png"]
    for number, name in enumerate(names):
        sets.save(root / "train2017" / name, 50 + number)
    for number, name in enumerate(names):
        sets.edit_json(root, lambda content, n=number, f=name: content["images"][n].update(file_name=f))
    before = pixels_and_labels("coco", root)
    done = doctor("coco", root, tmp_path / "out")
    assert pixels_and_labels("coco", tmp_path / "out/repaired") == before and len(before) == 5
    assert done == {
        "image paths rewritten": 1,
        "other files not copied": 4,
    }  # the first four images as they were called


def test_two_folders_of_a_voc_set(tmp_path):
    root = tmp_path / "set"
    sets.voc(root)
    for number in (0, 1):
        directory = f"cam{number}"
        for top, suffix in (("Annotations", ".xml"), ("JPEGImages", ".png")):
            (root / top / directory).mkdir()
            (root / top / f"train_{number}{suffix}").rename(root / top / directory / f"0{suffix}")
        sets.edit_xml(root, f"{directory}/0", lambda node: setattr(node.find("filename"), "text", "0.png"))
    path = root / "ImageSets/Main/train.txt"
    path.write_text(path.read_text().replace("train_0", "cam0/0").replace("train_1", "cam1/0"))
    before = contents(root)
    assert doctor("voc", root, tmp_path / "out") == {}
    assert contents(tmp_path / "out/repaired") == before | {"repairs.json": b"{}\n"}
    assert len({pixels for pixels, _ in pixels_and_labels("voc", tmp_path / "out/repaired")}) == 5


def test_voc_splits_in_folders_of_their_own(tmp_path):
    """Both splits have ``0.xml`` and ``0.png``."""
    for number, split in enumerate(("train", "val")):
        sets.voc(tmp_path / "made" / split)
        for name, directory, suffix in (("xml", "Annotations", ".xml"), ("jpg", "JPEGImages", ".png")):
            source = tmp_path / "made" / split / directory / f"train_{number}{suffix}"
            (tmp_path / split / name).mkdir(parents=True)
            source.rename(tmp_path / split / name / f"0{suffix}")
    overrides = [f"data.{split}_{part}={tmp_path / split / name}" for split in ("train", "val")
             for part, name in (("annotations", "xml"), ("images", "jpg"))]  # fmt: skip
    main(["doctor", "data=voc", f"out={tmp_path / 'out'}", "doctor.fix=true", "doctor.anchors=false", *overrides])
    found = {split: pixels_and_labels("voc", tmp_path / "out/repaired", split) for split in ("train", "val")}
    assert [len(rows) for rows in found.values()] == [1, 1] and found["train"] != found["val"]


@pytest.mark.parametrize("data", ["coco", "voc", "yolo"])
def test_a_valid_set_stays_as_it_is(data, tmp_path):
    sets.FORMATS[data](tmp_path / "set")
    before = contents(tmp_path / "set")
    assert doctor(data, tmp_path / "set", tmp_path / "out") == {}
    repaired = contents(tmp_path / "out" / "repaired")
    del repaired["repairs.json"]
    assert repaired == before


@pytest.mark.parametrize("data", ["coco", "voc", "yolo"])
def test_what_is_left_out_has_a_line(data, tmp_path):
    """A broken image, a cut-off one, one of no size, and a note beside them."""
    root = tmp_path / "set"
    sets.FORMATS[data](root)
    images = sorted(path for path in root.rglob("train_*.png"))
    images[0].write_bytes(b"no image")
    images[1].write_bytes(images[1].read_bytes()[:900])
    images[2].write_bytes(b"")
    (images[3].parent / "note.heic").write_bytes(b"?")
    done = doctor(data, root, tmp_path / "out")
    assert done.pop("images left out: unusable") == 3
    assert done.pop("other files not copied") == 1
    assert set(done) <= {"objects left out"}
    repaired = contents(tmp_path / "out" / "repaired")
    assert repaired[images[3].relative_to(root).as_posix()] == images[3].read_bytes()
    assert len(pixels_and_labels(data, tmp_path / "out" / "repaired")) == sets.COUNTS["train"] - 3


def test_labels_in_another_encoding_take_their_image_along(tmp_path):
    """An image without its labels would be learned as empty."""
    sets.yolo(tmp_path / "set")
    (tmp_path / "set/labels/train/train_0.txt").write_bytes(b"0 .5 .5 .1 .1 \xe4\n")
    assert doctor("yolo", tmp_path / "set", tmp_path / "out") == {"images left out: labels that cannot be read": 1}
    assert not (tmp_path / "out/repaired/images/train/train_0.png").exists()


def test_valid_lines_beside_a_faulty_one_stay_as_they_are_written(tmp_path):
    sets.yolo(tmp_path / "set")
    path = tmp_path / "set/labels/train/train_0.txt"
    path.write_text("0 .5 .5 .10 .1\n9 .5 .5 .1 .1\n1  0.25 0.25 0.1000000001 0.1")
    assert doctor("yolo", tmp_path / "set", tmp_path / "out") == {"objects left out": 1}
    text = (tmp_path / "out/repaired/labels/train/train_0.txt").read_text()
    assert text == "0 .5 .5 .10 .1\n1  0.25 0.25 0.1000000001 0.1\n"


def test_other_keys_of_the_settings_stay(tmp_path):
    sets.yolo(tmp_path / "set")
    (tmp_path / "set/data.yaml").write_text(
        f"path: {tmp_path / 'set'}\ntrain: images/train\nval: images/val\nnc: 2\nnames: [car, person]\nlicense: CC0\n"
    )
    assert doctor("yolo", tmp_path / "set", tmp_path / "out") == {}
    text = (tmp_path / "out/repaired/data.yaml").read_text()
    assert "license: CC0" in text and str(tmp_path / "set") not in text
    assert pixels_and_labels("yolo", tmp_path / "out/repaired") == pixels_and_labels("yolo", tmp_path / "set")


def test_splits_that_share_a_folder_become_lists(tmp_path):
    root = tmp_path / "set"
    for number in range(4):
        sets.save(root / "images" / f"{number}.png", number)
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{number}.txt").write_text(f"{number % 2} .5 .5 .{number + 1} .2\n")
    (root / "train.txt").write_text("./images/0.png\n./images/1.png\n")
    (root / "val.txt").write_text("./images/2.png\n./images/3.png\n")
    (root / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [car, person]\n")
    doctor("yolo", root, tmp_path / "out")
    for split in ("train", "val"):
        learned = pixels_and_labels("yolo", tmp_path / "out/repaired", split)
        assert learned == pixels_and_labels("yolo", root, split) and len(learned) == 2


def test_images_outside_of_the_root(tmp_path):
    """Two lists of absolute paths with the same names below."""
    root = tmp_path / "set"
    root.mkdir()
    for directory, side in (("x", 0.2), ("y", 0.4)):
        sets.save(tmp_path / directory / "images" / "0.png", int(side * 10))
        (tmp_path / directory / "labels").mkdir()
        (tmp_path / directory / "labels" / "0.txt").write_text(f"0 .5 .5 {side} {side}\n")
    (root / "train.txt").write_text("".join(f"{tmp_path}/{directory}/images/0.png\n" for directory in "xy"))
    (root / "data.yaml").write_text("train: train.txt\nnames: [car]\n")
    doctor("yolo", root, tmp_path / "out")
    learned = pixels_and_labels("yolo", tmp_path / "out/repaired")
    assert learned == pixels_and_labels("yolo", root) and len(learned) == 2


def test_a_copy_below_a_folder_called_images(tmp_path):
    """YOLO's labels are found by the last folder ``images`` of a path, which must not be one outside of the copy."""
    root = tmp_path / "set"
    sets.save(root / "train" / "0.png", 1)
    (root / "train" / "0.txt").write_text("0 .5 .5 .2 .2\n")
    (root / "train.txt").write_text("./train/0.png\n")
    (root / "data.yaml").write_text("train: train.txt\nnames: [car]\n")
    doctor("yolo", root, tmp_path / "images" / "out")
    learned = pixels_and_labels("yolo", tmp_path / "images" / "out" / "repaired")
    assert learned == pixels_and_labels("yolo", root) and learned[0][1] != []


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_that_cannot_be_read_has_a_line(split, tmp_path):
    sets.coco(tmp_path / "set")
    sets.json_path(tmp_path / "set", split).write_text("")
    done = doctor("coco", tmp_path / "set", tmp_path / "out")
    assert done.pop(f"split left out: {split} cannot be read") == 1
    assert done.keys() <= {"other files not copied"}
