"""COCO files whose values are of other types than the format says, and what doctor and its repair make of them."""

from __future__ import annotations

import json

import pytest

from effdet.data import DataError, DataSpec, open_dataset
from effdet.doctor import examine, repair


def opened(root, **changes):
    return open_dataset(DataSpec("coco", root=root, **changes))


def repaired(root, out, data="coco"):
    """The folder of the repaired copy and its repairs.json."""
    made = repair(examine(DataSpec(data, root), workers=0, progress=False), out)
    return made.directory, json.loads((made.directory / "repairs.json").read_text())


def written(directory, split="train"):
    return json.loads((directory / f"annotations/instances_{split}2017.json").read_text())


@pytest.mark.parametrize(
    ("value", "crowd", "warned", "stays"),
    [("0", False, False, 0), ("1", True, False, 1), ("false", False, False, 0), ("True", True, False, 1)]
    + [(0.0, False, False, 0), (None, False, False, None), (2, True, True, 1), ("maybe", False, True, "maybe")],
)
def test_crowd_as_text(coco_set, tmp_path, value, crowd, warned, stays):
    root = coco_set(edit=lambda content: content["annotations"][0].update(iscrowd=value))
    source = opened(root)
    assert source.records[0].crowd.tolist() == [crowd]
    assert [line for line in source.warnings if "bad-crowd" in line] == source.warnings
    assert bool(source.warnings) == warned
    directory, _ = repaired(root, tmp_path / "fixed")
    assert written(directory)["annotations"][0]["iscrowd"] == stays
    assert opened(directory).records[0].crowd.tolist() == [crowd]


def as_text(content):
    for image in content["images"]:
        image.update({key: str(image[key]) for key in ("id", "width", "height")})
    for category in content["categories"]:
        category["id"] = float(category["id"])
    for annotation in content["annotations"]:
        for key in ("id", "image_id", "area"):
            annotation[key] = str(annotation[key])
        annotation["category_id"] = float(annotation["category_id"])
        annotation["bbox"] = [str(value) for value in annotation["bbox"]]


def test_numbers_as_text_and_as_floats(coco_set, tmp_path):
    root = coco_set(edit=as_text)
    source = opened(root)
    assert source.warnings == []
    assert source.classes.ids == (3, 7)
    assert [record.image_id for record in source.records] == [10, 11, 12, 13]
    record = source.records[1]
    assert (record.size, record.boxes.tolist(), record.annotation_ids.tolist()) == ((48, 64), [[6, 7, 26, 23]], [101])
    assert record.area.tolist() == [320]
    directory, done = repaired(root, tmp_path / "fixed")
    # 4 images of 3 numbers, 2 categories, 4 annotations with id, image_id, category_id and area
    assert done == {"numbers rewritten": 4 * 3 + 2 + 4 * 4}
    (annotation, *_) = written(directory)["annotations"]
    assert annotation == {
        "id": 100, "image_id": 10, "category_id": 3, "bbox": [4, 6, 20, 16], "area": 320, "iscrowd": 0,
    }  # fmt: skip
    assert opened(directory).coco() == {**source.coco()}


def test_what_is_no_number_is_still_an_error(coco_set):
    for values in ({"image_id": "ten"}, {"category_id": 3.5}, {"bbox": ["1", "2", "3"]}, {"image_id": True}):
        with pytest.raises(DataError, match="must be"):
            opened(coco_set(edit=lambda content, values=values: content["annotations"][0].update(values)))


@pytest.mark.parametrize("bbox", [[], None, "missing", [0, 0, 0, 0]])
def test_a_polygon_stands_in_for_its_box(coco_set, tmp_path, bbox):
    def edit(content):
        content["annotations"][0].update(bbox=bbox, segmentation=[[5, 6, 25, 6, 25, 20.5, 9, 22]])
        if bbox == "missing":
            del content["annotations"][0]["bbox"]

    root = coco_set(edit=edit)
    source = opened(root)
    assert source.records[0].boxes.tolist() == [[5, 6, 25, 22]]
    assert [line.split(" (")[0] for line in source.warnings] == ["1 × box-from-mask"]
    directory, done = repaired(root, tmp_path / "fixed")
    assert done["boxes taken from segmentations"] == 1
    assert written(directory)["annotations"][0]["bbox"] == [5, 6, 20, 16]


def test_a_run_length_mask_stands_in_for_its_box(coco_set):
    # 48 rows: ones in rows 3 to 7 of columns 2 and 3.
    counts = [2 * 48 + 3, 5, 43, 5, 48 * 64 - 2 * 48 - 3 - 5 - 43 - 5]
    segmentation = {"size": [48, 64], "counts": counts}
    source = opened(coco_set(edit=lambda c: c["annotations"][0].update(bbox=[], segmentation=segmentation)))
    assert source.records[0].boxes.tolist() == [[2, 3, 4, 8]]


def test_no_box_and_no_polygon_is_an_error_of_that_annotation(coco_set):
    with pytest.raises(DataError, match=r"annotation 100: bbox must be 4 numbers .*, got \[\]"):
        opened(coco_set(edit=lambda content: content["annotations"][0].update(bbox=[])))


def letters(content):
    content["categories"] = [{"id": 1, "name": "a"}, {"id": 2, "name": "A"}, {"id": 3, "name": 5}]
    for annotation, label in zip(content["annotations"], (1, 2, 3, 1), strict=True):
        annotation["category_id"] = label


def test_names_that_differ_in_case_are_two_classes(coco_set, tmp_path):
    root = coco_set(edit=letters)
    source = opened(root)
    assert source.classes.names == ("a", "A", "5")
    assert [record.labels.tolist() for record in source.records] == [[0], [1], [2], [0]]
    found = examine(DataSpec("coco", root), workers=0, progress=False)
    assert found.issues.counts["similar-classes"] == 1
    assert found.issues.kind("similar-classes").level == "warning"
    directory, done = repaired(root, tmp_path / "fixed")
    assert done == {}
    before, after = (path / "annotations/instances_train2017.json" for path in (root, directory))
    assert after.read_bytes() == before.read_bytes()


def placeholder(first, *others):
    """Categories with the ids 0, 1, 2, …, of which the annotations use those after the first."""

    def edit(content):
        content["categories"] = [{"id": index, **entry} for index, entry in enumerate((first, *others))]
        for index, annotation in enumerate(content["annotations"]):
            annotation["category_id"] = 1 + index % len(others)

    return edit


NONE = {"supercategory": "none"}
CELLS = ({"name": "RBC", "supercategory": "cells"}, {"name": "WBC", "supercategory": "cells"})


@pytest.mark.parametrize(
    ("categories", "names"),
    [
        (({"name": "lego-face", **NONE}, {"name": "lego-face", "supercategory": "lego-face"}), ("lego-face",)),
        (({"name": "lego-face", **NONE}, {"name": "lego-face"}), ("lego-face",)),
        (({"name": "cells", **NONE}, *CELLS), ("RBC", "WBC")),
        (({"name": "cells", "supercategory": ""}, *CELLS), ("RBC", "WBC")),
        (({"name": "cells", **NONE}, {"name": "RBC"}, {"name": "WBC"}), ("RBC", "WBC")),
        (({"name": "_background_"}, {"name": "RBC"}), ("RBC",)),
        # A class that is merely unused is no placeholder.
        (({"name": "tree"}, {"name": "RBC"}), ("tree", "RBC")),
        (({"name": "tree", **NONE}, {"name": "RBC", **NONE}), ("tree", "RBC")),
    ],
)
def test_placeholder_categories(coco_set, tmp_path, categories, names):
    root = coco_set(edit=placeholder(*categories))
    source = opened(root)
    assert source.classes.names == names
    dropped = len(categories) - len(names)
    assert [line.split(" (")[0] for line in source.warnings] == ["1 × placeholder-category"] * dropped
    directory, done = repaired(root, tmp_path / "fixed")
    assert done == ({"placeholder categories left out": 1} if dropped else {})
    assert [entry["name"] for entry in written(directory)["categories"]] == list(names)


def test_a_category_that_another_split_uses_is_no_placeholder(coco_set):
    first = {"name": "cells", **NONE}
    root = coco_set(edit=placeholder(first, *CELLS))

    def edit(content):
        placeholder(first, *CELLS)(content)
        content["annotations"][0]["category_id"] = 0

    coco_set(split="val", edit=edit)
    for split in ("train", "val"):
        assert opened(root, split=split).classes.names == ("cells", "RBC", "WBC")
    coco_set(split="val", edit=placeholder(first, *CELLS))
    for split in ("train", "val"):
        assert opened(root, split=split).classes.names == ("RBC", "WBC")


def test_equal_names_that_are_both_used_are_refused_and_repaired(coco_set, tmp_path):
    def edit(content):
        content["categories"][1]["name"] = "car "

    root = coco_set(edit=edit)
    with pytest.raises(DataError, match=r"'car' is also the name of category 3.*doctor.fix=true"):
        opened(root)
    directory, done = repaired(root, tmp_path / "fixed")
    assert done["categories merged"] == 1
    assert [record.labels.tolist() for record in opened(directory).records] == [[0]] * 4
