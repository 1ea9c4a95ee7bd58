"""CSV lists as tools write them, and class tables that all splits share."""

from __future__ import annotations

import json

import pytest

from effdet.data import DataSpec, open_dataset


def pair(**values):
    return [open_dataset(DataSpec(split=split, **values)) for split in ("train", "val")]


@pytest.mark.parametrize(
    ("train", "val", "labels"),
    [
        # A column with gaps is written as floats; names without suffix, another machine's paths, either slash.
        ("path,label\nimages/a.png,1.0\nimages/b,2.0\n", "images\\a.png,1\n", [0, 1]),
        ("id,label\n/home/x/set/images/a.png,cat\nimages/IMG 001.png,dog\n", "./images/a.png,cat\n", [0, 1]),
        ("C:\\set\\images\\b.png,007\nimages/a.png,7\n", "images/b.png,7\n", [0, 1]),
    ],
)
def test_csv_paths_and_labels(tmp_path, image, train, val, labels):
    for name in ("a", "b", "IMG 001"):
        image(f"images/{name}.png")
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "val.csv").write_text(val)
    first, second = pair(name="csv", root=tmp_path)
    assert sorted(record.label for record in first.records) == labels
    assert all(record.image.is_file() for record in (*first.records, *second.records))
    assert len(second) == 1 and second.classes == first.classes


def test_csv_paths_are_distinguished_by_the_file(tmp_path, image):
    image("images/a.png")
    (tmp_path / "train.csv").write_text(f"images/a.png,x\n./images/a.png,x\n{tmp_path}/images/a.png,y\n")
    source = open_dataset(DataSpec("csv", root=tmp_path))
    assert len(source) == 1
    assert [line.split(" (")[0] for line in source.warnings] == ["2 × duplicate-images"]


def test_the_tables_of_all_splits_are_one(coco_set):
    """Dropping a placeholder leaves train and val with the same classes, also where val has no annotation at all."""
    first = [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 3, "name": "RBC"}, {"id": 7, "name": "WBC"}]
    root = coco_set(edit=lambda content: content.update(categories=first))
    coco_set(split="val", edit=lambda content: content.update(categories=first, annotations=[]))
    train, val = pair(name="coco", root=root)
    assert train.classes == val.classes and json.dumps(train.classes.names) == '["RBC", "WBC"]'
