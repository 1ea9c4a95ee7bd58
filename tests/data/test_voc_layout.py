"""Where the parts of VOC sets are found, and what the lines of their lists name."""

from __future__ import annotations

import json

import pytest

from effdet.cli.app import OK, main
from effdet.data import DataError, DataSpec, open_dataset
from effdet.data.voc import named
from effdet.doctor import examine, repair
from tests.data.test_voc import xml


@pytest.fixture
def put(tmp_path, image):
    """Writes ``NAME.xml`` with a box of a class (or a text) and images below the test's folder."""

    def write(*images, **files):
        for index, name in enumerate(images):
            image(name, box=(3 * index % 50, 5, 3 * index % 50 + 14, 40))
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                xml((content, 2, 2, 21, 31, 0)) if name.endswith(".xml") and "<" not in content else content
            )
        return tmp_path

    return write


def opened(root, split="train", **changes):
    return open_dataset(DataSpec("voc", root=root, split=split, **changes))


def stems(source):
    return [record.image.stem for record in source.records]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("IMG 001", "IMG 001"),
        ("IMG 001.jpg", "IMG 001"),
        ("IMG 001  1", "IMG 001"),
        ("IMG 001.jpg -1", "IMG 001"),
        ("IMG 1", "IMG 1"),  # such a file is there, so its digit is no flag
        ("IMG 1 1", "IMG 1"),
        ("a", "a"),
        ("a 0", "a"),
        ("a.JPG\t1", "a"),
        ("a.b", "a.b"),
        ("cam1/a", "cam1/a"),
        ("./JPEGImages/cam1/a.png", "cam1/a"),
        ("/home/someone/VOC/JPEGImages/a.jpg", "a"),
        ("D:\\VOC\\JPEGImages\\a.jpg", "a"),
        ("JPEGImages/a.jpg Annotations/IMG 001.xml", "IMG 001"),
        ("JPEGImages/IMG 001.jpg Annotations/a.xml", "a"),
        ("Annotations/a.xml", "a"),
        ("none.jpg", "none"),
        ("none 1", "none"),
    ],
)
def test_a_line_of_a_list(line, name):
    assert named(line, {"IMG 001", "IMG 1", "a", "a.b", "cam1/a"}) == name


def test_lists_with_spaces_suffixes_and_flags(put):
    names = ("IMG 001", "a", "b", "c.d")
    files = {f"Annotations/{name}.xml": "dog" for name in names}
    lists = {
        "ImageSets/Main/train.txt": "IMG 001\na.jpg 1\n",
        "ImageSets/Main/val.txt": "b -1\nc.d.jpg\n",
        "ImageSets/Main/dog_train.txt": "IMG 001  1\na -1\nb  0\n",
    }
    root = put(*(f"JPEGImages/{name}.jpg" for name in names), **files, **lists)
    assert stems(opened(root)) == ["IMG 001", "a"]
    assert stems(opened(root, "val")) == ["b", "c.d"]
    assert stems(opened(root, train_list="dog_train")) == ["IMG 001", "a", "b"]
    with pytest.raises(DataError, match=r"no ImageSets/Main/cat_train.txt"):
        opened(root, train_list="cat_train")
    out = root / "out"
    overrides = ["data=voc", f"data.root={root}", "data.train_list=dog_train", "split=train", "workers=0", f"out={out}"]
    assert main(["doctor", *overrides, "image_size=128"]) == OK
    assert json.loads((out / "doctor.json").read_text())["splits"]["train"] == {"images": 3, "boxes": 3}


def test_two_files_of_one_name_in_two_folders(put, tmp_path):
    root = put(
        *("JPEGImages/cam1/a.jpg", "JPEGImages/cam2/a.jpg"),
        **{"Annotations/cam1/a.xml": "dog", "Annotations/cam2/a.xml": "cat"},
        **{"ImageSets/Main/train.txt": "cam1/a\ncam2/a\n"},
    )
    source = opened(root)
    assert [source.classes.names[record.labels[0]] for record in source.records] == ["dog", "cat"]
    assert [record.file_name for record in source.records] == ["cam1/a.jpg", "cam2/a.jpg"]
    made = repair(examine(DataSpec("voc", root), workers=0, progress=False), tmp_path / "fixed")
    again = opened(made.directory)
    assert [record.file_name for record in again.records] == ["cam1/a.jpg", "cam2/a.jpg"]
    assert again.coco() == source.coco()


def test_roboflow_folders(put, tmp_path):
    images = ("train/a.rf.1.jpg", "train/b.jpg", "valid/b.jpg")
    root = put(*images, **{"train/a.rf.1.xml": "dog", "train/b.xml": "dog", "valid/b.xml": "cat"})
    train, val = opened(root), opened(root, "val")
    assert (stems(train), stems(val)) == (["a.rf.1", "b"], ["b"])
    assert train.classes.names == val.classes.names == ("cat", "dog")
    with pytest.raises(DataError, match="no folder Annotations"):
        opened(root, "test")
    found = examine(DataSpec("voc", root), workers=0, progress=False)
    made = repair(found, tmp_path / "fixed")
    for split, source in (("train", train), ("val", val)):
        again = opened(made.directory, split)
        assert [len(record.boxes) for record in again.records] == [len(record.boxes) for record in source.records]
    assert json.loads((made.directory / "repairs.json").read_text()) == {"file names corrected": 3}  # all say x.jpg


@pytest.mark.parametrize(
    "layout",
    [
        ("Annotations/{}.xml", "JPEGImages/{}.jpg", {}),
        ("Annotations/{}.xml", "JPEGImages/{}.jpg", {"ImageSets/Main/default.txt": "a\nb\n"}),
        ("annotations/xmls/{}.xml", "images/{}.jpg", {}),
        ("Annotations/{}.xml", "images/{}.jpg", {}),
        ("{}.xml", "{}.jpg", {}),
    ],
)
def test_a_set_without_splits_is_train(put, layout):
    annotation, image, lists = layout
    root = put(*(image.format(name) for name in "ab"), **{annotation.format(name): "dog" for name in "ab"}, **lists)
    assert stems(opened(root)) == ["a", "b"]
    with pytest.raises(DataError, match=r"hold out a part of train with data.val_fraction=0.1"):
        opened(root, "val")


def test_the_remedies_work(put, tmp_path):
    root = put("pics/a.jpg", **{"boxes/a.xml": "dog", "list.txt": "a.jpg\n"})
    with pytest.raises(DataError, match="no folder Annotations .*data.train_annotations=DIR"):
        opened(root)
    with pytest.raises(DataError, match=r"a.jpg: no such image"):
        opened(root, train_annotations=root / "boxes")
    assert stems(opened(root, train_annotations=root / "boxes", train_images=root / "pics")) == ["a"]
    with pytest.raises(DataError, match=r"none is not a folder of XML files, nor a .txt list"):
        opened(root, train_annotations=root / "none")
    (root / "boxes").rename(root / "Annotations")
    (root / "pics").rename(root / "JPEGImages")
    assert stems(opened(root, train_annotations=root / "list.txt")) == ["a"]


def test_an_image_of_the_name_in_the_file(put, tmp_path):
    root = put("JPEGImages/x.png", **{"Annotations/a.xml": xml(("dog", 2, 2, 21, 31, 0), filename="x.png")})
    assert stems(opened(root)) == ["x"]
    made = repair(examine(DataSpec("voc", root), workers=0, progress=False), tmp_path / "fixed")
    assert (made.directory / "JPEGImages/x.png").is_file()
    assert len(opened(made.directory).records[0].boxes) == 1


def test_truth_values(put, tmp_path):
    values = ("Unspecified", "1", "0", "True", "no", "")
    objects = [("dog", 2 + index, 2, 21, 31, value) for index, value in enumerate(values)]
    root = put("JPEGImages/a.jpg", **{"Annotations/a.xml": xml(*objects, filename="a.jpg")})
    source = opened(root)
    assert source.records[0].crowd.tolist() == [False, True, False, True, False, False]
    assert [line.split(" (")[0] for line in source.warnings] == ["1 × bad-difficult"]
    made = repair(examine(DataSpec("voc", root), workers=0, progress=False), tmp_path / "fixed")
    assert made.done == {}
    assert (made.directory / "Annotations/a.xml").read_bytes() == (root / "Annotations/a.xml").read_bytes()


def test_names_that_differ_in_case_stay_apart(put, tmp_path):
    root = put(*(f"JPEGImages/{name}.jpg" for name in "ab"), **{"Annotations/a.xml": "a", "Annotations/b.xml": "A"})
    assert opened(root).classes.names == ("A", "a")
    found = examine(DataSpec("voc", root), workers=0, progress=False)
    assert found.issues.counts["similar-classes"] == 1 and not found.fails("error")
    made = repair(found, tmp_path / "fixed")
    assert opened(made.directory).classes.names == ("A", "a")
    with pytest.raises(DataError, match="'a' is the name of class 0 and of class 1"):
        opened(root, classes=["a", "a", "A"])
