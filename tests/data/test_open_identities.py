"""Identities are held out whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from effdet.data import ArrayDataset, DataError, DataSpec, TrainSet, open_dataset
from effdet.data.derived import street_identities
from effdet.data.open import as_identities, split_train
from effdet.preprocess import Preprocess
from heads.structures import ClassTable

REQUESTED = ("identity",)


def test_no_identity_is_on_both_sides():
    labels = np.arange(40) % 10
    names = [str(index) for index in range(40)]
    pixels = np.zeros((40, 4, 4, 3), np.uint8)
    whole = ArrayDataset(pixels, labels, ClassTable.of(list("abcdefghij")), names=names, name="x", split="train")
    train, val = (split_train(whole, split=split, fraction=0.4, identities=True) for split in ("train", "val"))
    assert not set(train.classes.names) & set(val.classes.names)
    assert len(train) + len(val) == 40 and len(train.classes) + len(val.classes) == 10
    for part in (train, val):
        assert sorted(set(part.records.categories.tolist())) == list(range(len(part.classes)))
        for record in part.records:
            assert part.classes.names[record.label] == whole.classes.names[labels[int(record.file_name)]]
    with pytest.raises(DataError, match="raise it"):
        split_train(whole, split="val", fraction=1e-9, identities=True)


def test_a_folders_val_has_identities_of_its_own(tmp_path, image):
    for name in ("train/a", "train/b", "val/c"):
        image(f"{name}/0.png", size=(8, 8))
    (tmp_path / "val/empty").mkdir()
    train, val = (
        open_dataset(DataSpec("folder", root=tmp_path, split=s, requested=REQUESTED)) for s in ("train", "val")
    )
    assert train.classes.names == ("a", "b") and val.classes.names == ("c",)
    assert train.labelled == {"category", "identity"}
    assert TrainSet(train, Preprocess(size=(8, 8)))[0, 1].category == 1


def test_things_are_labelled_by_who_they_are(coco_set):
    def edit(content):
        for annotation in content["annotations"]:
            annotation["identity"] = {100: 70, 101: 30, 102: 70}[annotation["id"]]

    root = coco_set(3, edit=edit)
    scenes = open_dataset(DataSpec("coco", root=root))
    annotations = root / "annotations/instances_train2017.json"
    source = as_identities(street_identities(scenes, annotations))
    assert source.classes.ids == (30, 70)
    assert [record.label for record in source.records] == [1, 0, 1]
    content = json.loads(annotations.read_text())
    del content["annotations"][1]["identity"]
    annotations.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no key identity"):
        street_identities(scenes, annotations)
    with pytest.raises(DataError, match="no identities"):
        as_identities(scenes)
