"""Pascal VOC XML."""

from __future__ import annotations

import pytest

from effdet.data import DataError, DataSpec, open_dataset


def xml(*objects, size=(48, 64), filename="x.jpg"):
    rows = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox><part><name>head</name></part></object>"
        for name, x1, y1, x2, y2, difficult in objects
    )
    sizes = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{sizes}{rows}</annotation>"


@pytest.fixture
def voc_set(tmp_path, image):
    def write(files: dict[str, str], *, lists: dict[str, list[str]] | None = None, suffix="jpg"):
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        for stem, content in files.items():
            (tmp_path / "Annotations" / f"{stem}.xml").write_text(content)
            image(f"JPEGImages/{stem}.{suffix}")
        for split, stems in (lists or {"train": list(files)}).items():
            (tmp_path / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
        return tmp_path

    return write


def opened(root, **changes):
    return open_dataset(DataSpec("voc", root=root, **changes))


def test_pixels_count_from_one_and_corners_belong_to_the_box(voc_set):
    # The whole image is 1 … 64 by 1 … 48; the pixel in the top-left corner is 1 … 1.
    source = opened(voc_set({"a": xml(("cat", 1, 1, 64, 48, 0), ("dog", 11, 21, 30, 40, 0))}))
    assert source.records[0].boxes.tolist() == [[0, 0, 64, 48], [10, 20, 30, 40]]
    assert source.coco()["annotations"][1]["bbox"] == [10, 20, 20, 20]
    assert source.warnings == []


def test_classes_are_those_of_all_files_sorted(voc_set):
    files = {"a": xml(("dog", 2, 2, 9, 9, 0)), "b": xml(("cat", 2, 2, 9, 9, 0))}
    root = voc_set(files, lists={"train": ["a"], "val": ["b 1"]})
    train, val = opened(root), opened(root, split="val")
    assert train.classes == val.classes
    assert train.classes.names == ("cat", "dog")
    assert train.classes.ids == (1, 2)
    assert (train.records[0].labels[0], val.records[0].labels[0]) == (1, 0)


def test_given_classes(voc_set):
    root = voc_set({"a": xml(("dog", 2, 2, 9, 9, 0), ("cow", 2, 2, 9, 9, 0))})
    assert opened(root, classes=["dog", "cow"]).records[0].labels.tolist() == [0, 1]
    with pytest.raises(DataError, match=r"object 2 \(cow\): class 'cow' is not among data.classes \(dog\)"):
        opened(root, classes=["dog"])


def test_difficult_objects(voc_set):
    root = voc_set({"a": xml(("dog", 2, 2, 9, 9, 1), ("dog", 3, 3, 20, 20, 0))})
    assert opened(root).records[0].crowd.tolist() == [True, False]
    assert [row["iscrowd"] for row in opened(root).coco()["annotations"]] == [1, 0]
    assert opened(root, difficult="keep").records[0].crowd.tolist() == [False, False]


def test_zero_area_and_reversed(voc_set):
    boxes = [("dog", 5, 5, 5, 5, 0), ("dog", 9, 5, 4, 9, 0), ("dog", 2, 2, 9, 9, 0)]
    source = opened(voc_set({"a": xml(*boxes)}))
    assert len(source.records[0].boxes) == 1
    assert [line.split(" (")[0] for line in source.warnings] == ["1 × zero-area", "1 × negative-area"]


def test_floats_missing_size_and_other_suffix(voc_set):
    root = voc_set({"a": xml(("dog", "2.5", 2, 9, 9, 0), size=(0, 0))}, suffix="png")
    record = opened(root).records[0]
    assert record.size == (48, 64)
    assert record.boxes[0].tolist() == [1.5, 1, 9, 9]


def test_empty_image(voc_set):
    assert len(opened(voc_set({"a": xml(("dog", 2, 2, 9, 9, 0)), "b": xml()})).records[1].boxes) == 0


def test_year_folders_and_trainval(voc_set, tmp_path):
    voc_set({"a": xml(("dog", 2, 2, 9, 9, 0)), "b": xml()}, lists={"train": ["a"], "trainval": ["a", "b"]})
    (tmp_path / "VOCdevkit/VOC2012").mkdir(parents=True)
    for name in ("Annotations", "ImageSets", "JPEGImages"):
        (tmp_path / name).rename(tmp_path / "VOCdevkit/VOC2012" / name)
    assert len(opened(tmp_path)) == 1
    assert len(opened(tmp_path, train_list="trainval")) == 2


def test_folders_without_lists(voc_set, tmp_path):
    root = voc_set({name: xml(("dog", 2, 2, 9, 9, 0)) for name in "abcdefgh"}, lists={})
    (root / "ImageSets/Main/train.txt").unlink()
    spec = {"train_images": root / "JPEGImages", "train_annotations": root / "Annotations"}
    assert len(open_dataset(DataSpec("voc", **spec))) == 8
    parts = [opened(root, split=split, val_fraction=0.5) for split in ("train", "val")]
    assert sum(len(part) for part in parts) == 8
    assert len(opened(root)) == 8  # a set without lists is train
    (root / "ImageSets/Main/val.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"no ImageSets/Main/train.txt"):
        opened(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "cannot be parsed"),
        ("", "cannot be parsed"),
        (xml(("dog", "x", 2, 9, 9, 0)), "object 1: needs a name and a bndbox"),
        (xml(("dog", "inf", 2, 9, 9, 0)), "object 1: needs a name and a bndbox"),
        (xml(("", 1, 2, 9, 9, 0)), "object 1: needs a name and a bndbox"),
        (xml(("dog", 1, 2, 9, 9, 0), size=(50, 64)), r"the set says 64×50 .* the file has 64×48"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "cannot be parsed"),
    ],
)
def test_broken_files(voc_set, content, message):
    root = voc_set({"a": xml(("dog", 2, 2, 9, 9, 0)), "b": content})
    with pytest.raises(DataError, match=message):
        opened(root)


def test_what_the_list_names_but_is_not_there(voc_set):
    root = voc_set({"a": xml(("dog", 2, 2, 9, 9, 0))}, lists={"train": ["a", "c"]})
    with pytest.raises(DataError, match=r"c.xml: no such file, but the split lists it"):
        opened(root)
    with pytest.raises(DataError, match=r"no ImageSets/Main/test.txt"):
        opened(root, split="test")
    (root / "JPEGImages/a.jpg").unlink()
    with pytest.raises(DataError, match=r"2 problems(.|\n)*a.jpg: no such image"):
        opened(root)


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "images", "boxes", "flat"), [("train", 205, 2804, 1), ("val", 87, 1137, 1), ("test", 72, 945, 0)]
)
def test_blood_cells(data_root, split, images, boxes, flat):
    source = opened(data_root / "bccd", split=split)
    assert source.classes.names == ("Platelets", "RBC", "WBC")
    assert (len(source), len(source.coco()["annotations"])) == (images, boxes)
    assert len(source.warnings) == flat
    assert all("zero-area" in line for line in source.warnings)
