"""Where the images and labels of YOLO sets are found."""

from __future__ import annotations

import pytest

from effdet.data import DataError, DataSpec, open_dataset
from effdet.doctor import examine, repair


@pytest.fixture
def put(tmp_path, image):
    """Writes images (each with a label of its own class 0 box) and text files below the test's folder."""

    def write(images=(), **texts):
        for index, name in enumerate(images):
            image(name, size=(32, 64), box=(20 * index % 60, 3 * index % 29, 20 * index % 60 + 19, 30))
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def labelled(*names):
    """Label files for images ``…/images/…``, each with a box as wide as its place in the list says."""
    return {
        name.replace("images/", "labels/").rpartition(".")[0] + ".txt": f"0 .5 .5 {(index + 1) / 10} .5\n"
        for index, name in enumerate(names)
    }


def opened(root, split="train", **changes):
    return open_dataset(DataSpec("yolo", root=root, split=split, **changes))


def paths(source, root):
    return [record.image.resolve().relative_to(root.resolve()).as_posix() for record in source.records]


def test_the_folder_inside_the_root_wins(put):
    images = ["train/images/other.png", "second/train/images/a.png", "second/valid/images/b.png"]
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [x]\n"
    root = put(images, **labelled(*images), **{"second/data.yaml": yaml}) / "second"
    source = opened(root)
    assert paths(source, root) == ["train/images/a.png"]
    assert source.warnings[0].startswith("1 × outside-root (first: ") and "not as " in source.warnings[0]
    assert paths(opened(root, "val"), root) == ["valid/images/b.png"]
    with pytest.raises(DataError, match=r"names test: ../test/images, which is neither"):
        opened(root, "test")


def test_a_neighbour_is_read_only_where_the_root_has_nothing(put):
    images = ["train/images/other.png", "second/valid/images/b.png"]
    root = put(images, **labelled(*images), **{"second/data.yaml": "train: ../train/images\nnames: [x]\n"})
    source = opened(root / "second")
    assert paths(source, root) == ["train/images/other.png"]
    assert "leads out of data.root" in source.warnings[0]


@pytest.mark.parametrize(
    "yaml",
    [
        "train: /home/somebody/sets/second/images/train",
        "train: C:\\sets\\second\\images\\train",
        "path: /home/somebody/sets/second\ntrain: images/train",
        "path: ../sets/second\ntrain: images/train",
        "path: ''\ntrain: ./images/train/",
        "train: list.txt",
        "train: data/list.txt",
        "train: [images/train/x, images/train/y]",
        "path: images\ntrain: train",
    ],
)
def test_paths_of_another_machine(put, yaml):
    images = ["set/images/train/x/a.png", "set/images/train/y/a.png"]
    listed = "/home/somebody/sets/second/images/train/x/a.png\n./images/train/y/a.png\n"
    root = (
        put(images, **labelled(*images), **{"set/data.yaml": f"{yaml}\nnames: [x]\n", "set/list.txt": listed}) / "set"
    )
    source = opened(root)
    assert paths(source, root) == ["images/train/x/a.png", "images/train/y/a.png"]
    assert [round(float(record.boxes[0, 2] - record.boxes[0, 0]), 1) for record in source.records] == [6.4, 12.8]


def test_two_absolute_folders_stay_two(put, tmp_path):
    images = ["set/images/train/a.png", "extra/images/train/a.png"]
    yaml = f"train: [images/train, {tmp_path / 'extra/images/train'}]\nnames: [x]\n"
    root = put(images, **labelled(*images), **{"set/data.yaml": yaml})
    assert paths(opened(root / "set"), root) == ["extra/images/train/a.png", "set/images/train/a.png"]


def test_lines_of_a_list(put):
    images = [f"set/images/{name}" for name in ("IMG 001.png", "a.png", "b 1.png", "c.png")]
    lines = "images/IMG 001.png\nimages/a.png 1\nimages/b 1.png\nimages\\c\n"
    root = (
        put(images, **labelled(*images), **{"set/data.yaml": "train: t.txt\nnames: [x]\n", "set/t.txt": lines}) / "set"
    )
    assert [path.rpartition("/")[2] for path in paths(opened(root), root)] == [
        "IMG 001.png",
        "a.png",
        "b 1.png",
        "c.png",
    ]
    (root / "t.txt").write_text("images/none.png\n")
    with pytest.raises(DataError, match="images/none.png: no such image"):
        opened(root)


def test_cvat_with_darknet_files(put):
    texts = {
        "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
        "obj.names": "car\nroad sign\n",
        "train.txt": "data/obj_train_data/a.png\ndata/obj_train_data/sub/a.png\n",
        "obj_train_data/a.txt": "1 .5 .5 .5 .5\n",
        "obj_train_data/sub/a.txt": "0 .5 .5 .25 .5\n",
    }
    root = put(["obj_train_data/a.png", "obj_train_data/sub/a.png"], **texts)
    source = opened(root)
    assert source.classes.names == ("car", "road sign")
    assert [record.labels.tolist() for record in source.records] == [[1], [0]]
    (root / "obj.data").unlink()
    (root / "train.txt").unlink()
    assert len(opened(root)) == 2
    with pytest.raises(DataError, match="data.val_fraction=0.1"):
        opened(root, "val")


def test_label_studio_without_splits(put):
    images = [f"images/{index}.png" for index in range(10)]
    root = put(images, **labelled(*images), **{"classes.txt": "x\n", "notes.json": "{}"})
    assert len(opened(root)) == 10
    parts = [opened(root, split, val_fraction=0.3) for split in ("train", "val")]
    assert sum(map(len, parts)) == 10 and all(map(len, parts))


def test_labels_beside_the_images(put):
    root = put(["images/a.png"], **{"images/a.txt": "0 .5 .5 .5 .5\n", "classes.txt": "x\n"})
    assert len(opened(root).records[0].boxes) == 1


def test_names_are_text(put):
    root = put(
        ["images/a.png"], **{"labels/a.txt": "0 .5 .5 .5 .5\n", "data.yaml": "names: {0: no, 1: 007, 2: 1.0, 3: ~}"}
    )
    assert opened(root).classes.names == ("no", "007", "1.0", "~")


def test_folders_named_by_key_do_what_the_messages_say(put):
    root = put(["pics/a.png", "pics/b/a.png"], **{"txt/a.txt": "0 .5 .5 .5 .5\n", "txt/b/a.txt": "0 .5 .5 .25 .5\n"})
    with pytest.raises(DataError, match="no class names .*: give .* classes.txt, or data.classes"):
        opened(root)
    (root / "classes.txt").write_text("x\n")
    with pytest.raises(DataError, match=r"no data.yaml, images/train or train/images .*data.train_images=DIR"):
        opened(root)
    with pytest.raises(DataError, match=r"none of 2 images has a label file.*data.train_annotations=DIR"):
        opened(root, train_images=root / "pics")
    source = opened(root, train_images=root / "pics", train_annotations=root / "txt")
    assert [record.boxes[0, 2] - record.boxes[0, 0] for record in source.records] == [32, 16]
    source = open_dataset(DataSpec("yolo", classes=["x"], train_images=root / "pics", train_annotations=root / "txt"))
    assert len(source) == 2
    with pytest.raises(DataError, match=r"data.train_annotations=.*none must be a folder of label files, a data.yaml"):
        opened(root, train_annotations=root / "none")


def test_only_the_labels_lie_elsewhere(put):
    images = ["images/train/a.png", "images/val/a.png"]
    root = put(
        images, **{"boxes/train/a.txt": "0 .5 .5 .5 .5\n", "flat/a.txt": "0 .5 .5 .25 .5\n", "classes.txt": "x\n"}
    )
    assert len(opened(root, train_annotations=root / "boxes").records[0].boxes) == 1
    assert len(opened(root, "val", val_annotations=root / "flat").records[0].boxes) == 1


def test_doctor_notes_a_test_folder_that_is_not_there(put):
    images = ["train/images/a.png", "valid/images/b.png"]
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [x]\n"
    root = put(images, **labelled(*images), **{"data.yaml": yaml})
    found = examine(DataSpec("yolo", root), workers=0, progress=False)
    assert [(issue.kind, issue.split) for issue in found.issues.of("missing-split")] == [("missing-split", "test")]
    assert not found.fails("error")
    (root / "data.yaml").write_text(yaml.replace("../valid", "../vaild"))
    assert examine(DataSpec("yolo", root), workers=0, progress=False).fails("error")


def test_doctor_needs_no_root_where_files_are_named(put):
    images = ["a/images/a.png", "b/images/b.png"]
    root = put(images, **labelled(*images))
    spec = DataSpec("yolo", classes=["x"], train_images=root / "a/images", val_images=root / "b/images")
    found = examine(spec, workers=0, progress=False)
    assert [split.name for split in found.splits] == ["train", "val"]
    assert [issue.split for issue in found.issues.of("missing-split")] == ["test"]
    assert not found.fails("error"), [str(issue) for issue in found.issues]


def test_labels_are_found_by_a_suffix_in_capitals_and_repaired(put, tmp_path):
    images = ["images/train/a.png", "images/train/b.png"]
    labels = {name.removesuffix(".txt") + ".TXT": text for name, text in labelled(*images).items()}
    root = put(images, **labels, **{"classes.txt": "x\n"})
    source = opened(root)
    assert [len(record.boxes) for record in source.records] == [1, 1] and not source.warnings
    found = examine(DataSpec("yolo", root=root), workers=0, progress=False)
    assert not {"no-labels", "label-without-image"} & {issue.kind for issue in found.issues}
    copy = repair(found, tmp_path / "repaired").directory
    assert [len(record.boxes) for record in opened(copy).records] == [1, 1]


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ("nc: 3\n", "class-count", "data.yaml: says 3 classes, and names 1: the names are taken"),
        ("Val: images/val\n", "misspelt-key", "data.yaml: key Val is not read: val is meant?"),
        ("kpt_shapes: [2, 3]\n", "misspelt-key", "data.yaml: key kpt_shapes is not read: kpt_shape is meant?"),
    ],
)
def test_slips_in_the_keys_are_warned_of(put, line, kind, text):
    images = ["images/train/a.png"]
    root = put(images, **labelled(*images), **{"data.yaml": f"train: images/train\nnames: [x]\n{line}"})
    assert opened(root).warnings == [f"1 × {kind} (first: {root}/{text})"]


def test_keys_of_exporters_and_a_right_number_are_no_slips(put):
    images = ["images/train/a.png"]
    yaml = "train: images/train\nnames: [x]\nnc: 1\nroboflow: {version: 1}\ndownload: ''\nflip_idx: [0]\n"
    assert opened(put(images, **labelled(*images), **{"data.yaml": yaml})).warnings == []


def test_misspelt_names_are_said_where_names_are_missed(put):
    images = ["images/train/a.png"]
    root = put(images, **labelled(*images), **{"data.yaml": "train: images/train\nname: [x]\n"})
    with pytest.raises(
        DataError, match=r"no class names under .*: name in data.yaml is not read, names is meant\?; give"
    ):
        opened(root)
