"""YOLO txt."""

from __future__ import annotations

import pytest

from effdet.data import DataError, DataSpec, open_dataset

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: {0: car, 1: person}\n"


@pytest.fixture
def yolo_set(tmp_path, image):
    def write(labels: dict[str, str | None], *, yaml: str | None = YAML):
        for name, content in labels.items():
            image(f"images/{name}.jpg", size=(50, 100))
            path = tmp_path / f"labels/{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.write_text(content)
        if yaml is not None:
            (tmp_path / "data.yaml").write_text(yaml)
        return tmp_path

    return write


def opened(root, **changes):
    return open_dataset(DataSpec("yolo", root=root, **changes))


def test_shares_become_pixels(yolo_set):
    root = yolo_set({"train/a": "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.2 0.2 0.4\n", "train/b": None, "val/c": "0 .5 .5 1 1"})
    source = opened(root)
    assert source.classes.names == ("car", "person")
    assert source.classes.ids == (0, 1)
    first, second = source.records
    assert first.boxes.round(4).tolist() == [[40, 15, 60, 35], [0, 0, 20, 20]]
    assert first.labels.tolist() == [1, 0]
    assert second.boxes.shape == (0, 4)
    assert opened(root, split="val").records[0].boxes.tolist() == [[0, 0, 100, 50]]
    assert [row["category_id"] for row in source.coco()["annotations"]] == [1, 0]


def test_polygon(yolo_set):
    root = yolo_set({"train/a": "0 0.1 0.2 0.5 0.2 0.3 0.8"})
    assert opened(root).records[0].boxes.round(4).tolist() == [[10, 10, 50, 40]]


def test_without_yaml(yolo_set, tmp_path):
    root = yolo_set({"train/a": "0 .5 .5 .5 .5"}, yaml=None)
    with pytest.raises(DataError, match="no class names"):
        opened(root)
    assert opened(root, classes=["x"]).classes.names == ("x",)
    (root / "classes.txt").write_text("y\n")
    assert opened(root).classes.names == ("y",)


def test_flat_folder_with_val_fraction(yolo_set):
    root = yolo_set({f"{index}": "0 .5 .5 .5 .5" for index in range(12)}, yaml="names: [x]")
    parts = [opened(root, split=split, val_fraction=0.4) for split in ("train", "val")]
    names = [{record.file_name for record in part.records} for part in parts]
    assert len(names[0] | names[1]) == 12
    assert not names[0] & names[1]
    with pytest.raises(DataError, match=r"images/val or val/images.*data.val_images=DIR.*data.val_fraction=0.1"):
        opened(root, split="val")


def test_split_folders_and_lists(yolo_set, tmp_path):
    root = yolo_set({"train/a": "0 .5 .5 .5 .5", "val/b": "0 .5 .5 .5 .5"}, yaml=None)
    (root / "train.txt").write_text("./images/train/a.jpg\n")
    (root / "data.yaml").write_text("train: train.txt\nval: ../images/val\nnames: [x]\n")
    assert [record.file_name for record in opened(root).records] == ["a.jpg"]
    assert len(opened(root, split="val")) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "3 numbers after the class"),
        ("0 0.5 0.5 0.2 0.2 1.1", "5 numbers after the class"),
        ("0 0.5 0.5 0.2 0.2 0.4 0.4 2", "7 numbers after the class.*keypoints need kpt_shape"),
        ("a 0.5 0.5 0.2 0.2", "must be numbers"),
        ("2 0.5 0.5 0.2 0.2", "class 2 must be a whole number from 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "class -1 must be"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5 must be"),
        ("nan 0.5 0.5 0.2 0.2", "class nan must be"),
        ("0 50 25 20 20", "shares of the image from 0 to 1, not pixels"),
        ("0 nan 0.5 0.2 0.2", "shares of the image"),
    ],
)
def test_broken_lines(yolo_set, line, message):
    root = yolo_set({"train/a": f"0 .5 .5 .5 .5\n{line}\n"})
    with pytest.raises(DataError, match=f"a.txt: line 2: .*{message}"):
        opened(root)


def test_warnings(yolo_set):
    root = yolo_set({"train/a": "0 .5 .5 .5 .5\n0 .5 .5 0 .5\n0 1 .5 .5 .5\n0 1.6 .5 .5 .5"})
    (root / "labels/train/alone.txt").write_text("")
    source = opened(root)
    kinds = [line.split(" (")[0] for line in source.warnings]
    assert kinds == ["1 × label-without-image", "1 × zero-area", "1 × out-of-range", "1 × outside-image"]
    assert source.records[0].boxes.tolist() == [[25, 12.5, 75, 37.5], [75, 12.5, 100, 37.5]]


@pytest.mark.parametrize("yaml", ["[]", "names: [", "names: {1: a}\ntrain: images/train", "names: [a]\ntrain: nowhere"])
def test_broken_yaml(yolo_set, yaml):
    with pytest.raises(DataError):
        opened(yolo_set({"train/a": "0 .5 .5 .5 .5"}, yaml=yaml))


def test_no_labels_at_all(yolo_set):
    with pytest.raises(DataError, match="none of 2 images has a label file, such as a.txt"):
        opened(yolo_set({"train/a": None, "train/b": None}))


def test_label_file_that_is_no_text(yolo_set):
    root = yolo_set({"train/a": "0 .5 .5 .5 .5"})
    (root / "labels/train/a.txt").write_bytes(b"\xff\x00\x01")
    with pytest.raises(DataError, match="byte 0xff at position 0 \\(line 1\\) is not UTF-8"):
        opened(root)
