"""What a line of YOLO's labels is, worked by hand on images of 256×256 px."""

from __future__ import annotations

import pytest

from effdet.data import DataError, DataSpec, open_dataset
from effdet.doctor import examine, repair

POSE = "0 0.5 0.5 0.2 0.2 0.42 0.44 1 0.58 0.44 1"


@pytest.fixture
def lines_set(tmp_path, image):
    def write(*lines, yaml="", size=(256, 256)):
        image("set/images/train/a.png", size=size)
        directory = tmp_path / "set/labels/train"
        directory.mkdir(parents=True)
        (directory / "a.txt").write_text("".join(f"{line}\n" for line in lines))
        (tmp_path / "set/data.yaml").write_text(f"train: images/train\nnames: [a, b]\n{yaml}")
        return tmp_path / "set"

    return write


def boxes(root):
    return open_dataset(DataSpec("yolo", root=root)).records[0].boxes.round().tolist()


@pytest.mark.parametrize(
    ("line", "yaml", "box"),
    [
        # 256 · (0.5 ± 0.1) = 102.4 and 153.6 in both directions for the first; keypoints do not count.
        (POSE, "kpt_shape: [2, 3]", [102, 102, 154, 154]),
        ("0 0.5 0.375 0.2 0.15 0.42 0.44 1 0.58 0.44 1", "kpt_shape: [2, 3]", [102, 77, 154, 115]),
        ("0 0.5 0.5 0.2 0.2 0.1 0.1 0.9 0.9", "kpt_shape: [2, 2]", [102, 102, 154, 154]),
        ("0 0.5 0.5 0.2 0.2 0 0 0 0 0 0", "kpt_shape: ['2', 3.0]", [102, 102, 154, 154]),
        ("0 0.5 0.5 0.2 0.2", "kpt_shape: [2, 3]", [102, 102, 154, 154]),
        (f"{POSE} 0.91", "kpt_shape: [2, 3]", [102, 102, 154, 154]),
        ("0 0.5 0.5 0.2 0.2 0.91", "", [102, 102, 154, 154]),
        # Without kpt_shape ten numbers are five corners.
        ("0 0.25 0.5 0.5 0.25 0.75 0.5 0.5 0.75 0.3 0.6", "", [64, 64, 192, 192]),
        # A rotated box: four corners.
        ("1 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5", "", [64, 64, 192, 192]),
        ("1.0 0.25 0.25 0.5 0.25 0.5 0.75", "", [64, 64, 128, 192]),
        # Boxes that hang over an edge are clipped.
        ("0 0.05 0.5 0.2 0.2", "", [0, 102, 38, 154]),
    ],
)
def test_a_line(lines_set, line, yaml, box):
    assert boxes(lines_set(line, yaml=yaml)) == [box]


@pytest.mark.parametrize(
    ("line", "yaml", "message"),
    [
        ("0 0.5 0.5 0.2 0.2 0.42 0.44 1", "kpt_shape: [2, 3]", "7 numbers after the class; .* kpt_shape 10"),
        (POSE, "kpt_shape: [3, 3]", "10 numbers after the class; .* kpt_shape 13"),
        (POSE, "kpt_shape: 6", r"kpt_shape='6' in data.yaml must be \[keypoints, 2 or 3\]"),
        (POSE, "kpt_shape: [2, 4]", "kpt_shape=.* must be"),
        ("0 0.5 0.5 0.2 0.2 7", "", "5 numbers after the class"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "", "7 numbers after the class"),
    ],
)
def test_a_wrong_count(lines_set, line, yaml, message):
    with pytest.raises(DataError, match=message):
        boxes(lines_set(line, yaml=yaml))


def test_a_confidence_is_said(lines_set):
    source = open_dataset(DataSpec("yolo", root=lines_set("0 .5 .5 .2 .2 .7")))
    assert [line.split(" (")[0] for line in source.warnings] == ["1 × label-confidence"]


def test_repair_keeps_keypoints_byte_for_byte(lines_set, tmp_path):
    root = lines_set(
        POSE, "0  .3 .3 0.10 .1   .3 .3 2 .3 .3 0", yaml="kpt_shape: [2, 3]\nflip_idx: [1, 0]\nlicense: MIT\n"
    )
    (root / "images/val").symlink_to(root / "images/train")
    made = repair(examine(DataSpec("yolo", root), split="train", workers=0, progress=False), tmp_path / "fixed")
    assert made.done == {}
    assert (made.directory / "labels/train/a.txt").read_bytes() == (root / "labels/train/a.txt").read_bytes()
    assert (made.directory / "data.yaml").read_bytes() == (root / "data.yaml").read_bytes()
    assert "license: MIT" in (made.directory / "data.yaml").read_text()
    assert boxes(made.directory) == boxes(root)


def test_repair_clips_a_box_and_leaves_the_rest_of_the_line(lines_set, tmp_path):
    root = lines_set("0 0.05 0.5 0.2 0.2 0.01 0.5 2 0.1 0.5 1", "1 .5 .5 .1 .1", yaml="kpt_shape: [2, 3]")
    made = repair(examine(DataSpec("yolo", root), split="train", workers=0, progress=False), tmp_path / "fixed")
    assert made.done == {"boxes clipped": 1}
    text = (made.directory / "labels/train/a.txt").read_text()
    # From 0.05 - 0.1 < 0 to 0.15: centre 0.075, width 0.15.
    assert text == "0 0.075 0.5 0.15 0.2 0.01 0.5 2 0.1 0.5 1\n1 .5 .5 .1 .1\n"


def test_equal_names(lines_set, tmp_path):
    root = lines_set("0 .5 .5 .2 .2", "1 .5 .5 .4 .4", "2 .5 .5 .6 .6")
    (root / "data.yaml").write_text("train: images/train\nnames: [a, a, b]\n")
    with pytest.raises(
        DataError, match=r"class 1: 'a' is the name of class 0 and of class 1: rename one.*doctor.fix=true"
    ):
        open_dataset(DataSpec("yolo", root=root))
    made = repair(examine(DataSpec("yolo", root), split="train", workers=0, progress=False), tmp_path / "fixed")
    assert made.done == {"classes of one name joined": 1, "labels renumbered": 2}
    source = open_dataset(DataSpec("yolo", root=made.directory))
    assert (source.classes.names, source.records[0].labels.tolist()) == (("a", "b"), [0, 0, 1])
    with pytest.raises(DataError, match="'x' is the name of class 0 and of class 2"):
        open_dataset(DataSpec("yolo", root=root, classes=["x", "y", "x"]))
