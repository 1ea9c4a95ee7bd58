"""Image folders and CSV lists."""

from __future__ import annotations

import pytest

from effdet.data import DataError, DataSpec, open_dataset


@pytest.fixture
def directory(tmp_path, image):
    for split, names in (("train", ("cat", "ape")), ("val", ("ape",))):
        for name in names:
            for index in range(2):
                image(f"{split}/{name}/deep/{index}.png", size=(8, 6 + index))
    return tmp_path


def test_classes_are_those_of_train_in_every_split(directory):
    train, val = (open_dataset(DataSpec("folder", root=directory, split=split)) for split in ("train", "val"))
    assert train.classes == val.classes and train.classes.names == ("ape", "cat")
    assert [record.label for record in train.records] == [0, 0, 1, 1]
    assert [record.file_name for record in val.records] == ["ape/deep/0.png", "ape/deep/1.png"]
    assert train.records[1].size == (8, 7) and train.read_image(train.records[1]).shape == (8, 7, 3)


def test_classes_directly_under_the_root_and_a_fraction(directory):
    root = directory / "train"
    parts = [open_dataset(DataSpec("folder", root=root, split=s, val_fraction=0.6)) for s in ("train", "val")]
    assert list(map(len, parts)) == [2, 2] and parts[0].classes == parts[1].classes


def test_folders_may_be_named(directory):
    source = open_dataset(DataSpec("folder", val_images=directory / "val", split="val", classes=["dog", "ape"]))
    assert [record.label for record in source.records] == [1, 1]


def test_faults_are_all_reported(directory, image):
    image("val/zebra/0.png")
    (directory / "val/ape/broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        open_dataset(DataSpec("folder", root=directory, split="val"))
    assert "no class of train" in str(caught.value) and "broken.jpg" in str(caught.value)
    with pytest.raises(DataError, match=r"no folder test/"):
        open_dataset(DataSpec("folder", root=directory, split="test"))
    (directory / "empty").mkdir()
    with pytest.raises(DataError, match="folder for each class"):
        open_dataset(DataSpec("folder", root=directory / "empty"))


@pytest.mark.parametrize(
    "text",
    [
        "train/ape/deep/0.png,10\ntrain/cat/deep/1.png,2\n",
        "label;path\n10;train/ape/deep/0.png\n\n2;train/cat/deep/1.png\n",
        "﻿image,class,note\ntrain/ape/deep/0.png,10,x\ntrain/cat/deep/1.png,2,\n",
    ],
)
def test_csv_lists(directory, text):
    (directory / "train.csv").write_text(text, "utf-8")
    source = open_dataset(DataSpec("csv", root=directory))
    assert source.classes.names == ("2", "10")  # numbers in their order
    assert [record.label for record in source.records] == [1, 0]


def test_csv_faults_are_reported_by_line(directory):
    (directory / "train.csv").write_text("train/ape/deep/0.png,a\ntrain/ape/deep/0.png,a\ntrain/cat/deep/0.png,b\n")
    train = open_dataset(DataSpec("csv", root=directory))
    assert len(train) == 2 and len(train.warnings) == 1
    (directory / "val.csv").write_text("train/ape/deep/0.png,c\nonly\nmissing.png,a\n")
    with pytest.raises(DataError) as caught:
        open_dataset(DataSpec("csv", root=directory, split="val"))
    text = str(caught.value)
    assert "line 1" in text and "'c' is not a class of train" in text and "line 2" in text and "missing.png" in text
