"""Class tables against what is known of the sets, and the matching of names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from effdet.evaluation import join
from effdet.weights.class_tables import NAMES, class_table, is_unnamed, matching_rows
from heads.structures import ClassTable, UserError


def test_coco_has_80_names_in_90_rows() -> None:
    table = class_table("coco90")
    assert len(table) == 90 and sum(table.named) == 80
    assert all(number == row + 1 for row, number in enumerate(table.ids) if number is not None)
    missing = [row + 1 for row, named in enumerate(table.named) if not named]
    assert missing == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]  # ids that COCO never used
    short = class_table("coco80")
    assert [name for name in table.names if name] == list(short.names)
    assert short.ids[-1] == 90 and short.names[0] == "person"


@pytest.mark.data
def test_coco_agrees_with_the_owners_annotations(data_root: Path) -> None:
    path = data_root / "coco" / "annotations" / "instances_val2017.json"
    categories = json.loads(path.read_text())["categories"]
    table = class_table("coco80")
    assert [(row["id"], row["name"]) for row in categories] == list(zip(table.ids, table.names, strict=True))


@pytest.mark.parametrize(("name", "count"), [("voc", 20), ("cityscapes", 19), ("imagenet1k", 1000)])
def test_sizes(name: str, count: int) -> None:
    assert len(class_table(name)) == count


def test_an_unknown_table_lists_the_known() -> None:
    with pytest.raises(UserError, match=f"use one of {NAMES[0]}"):
        class_table("coco100")


def test_names_match_whatever_their_spelling() -> None:
    target = ClassTable.of(["Person", "tram", "traffic_light"])
    assert matching_rows(target, class_table("coco90")) == {0: 0, 2: 9}


def test_all_classes_of_voc_are_found_in_coco_and_back() -> None:
    voc, coco = class_table("voc"), class_table("coco80")
    rows = matching_rows(voc, coco)
    overrides = {
        "aeroplane": "airplane",
        "diningtable": "dining table",
        "motorbike": "motorcycle",
        "pottedplant": "potted plant",
        "sofa": "couch",
        "tvmonitor": "tv",
    }
    assert [coco.names[rows[row]] for row in range(20)] == [overrides.get(str(name), name) for name in voc.names]
    assert join(coco, voc).missing == ()
    back = matching_rows(coco, voc)
    assert {target: source for source, target in back.items()} == rows
    assert join(voc, coco).dropped == ()


@pytest.mark.parametrize(
    ("requested", "known"),
    [("voc", "coco90"), ("coco90", "voc"), ("cityscapes", "coco80"), ("cityscapes_things", "cityscapes")],
)
def test_rows_are_found_as_evaluation_finds_them(requested: str, known: str) -> None:
    target, source = class_table(requested), class_table(known)
    expected = {data: model for model, data in enumerate(join(source, target).to_data) if data >= 0}
    assert matching_rows(target, source) == expected


def test_an_equal_spelling_goes_before_others() -> None:
    plates = ClassTable.of(["a", "A", "Sofa", "couch"])
    assert matching_rows(plates, plates) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert matching_rows(ClassTable.of(["A", "sofa"]), plates) == {0: 1, 1: 2}


def test_tables_that_only_count_match_nothing_but_themselves() -> None:
    counted = ClassTable.unnamed(3)
    assert is_unnamed(counted) and not is_unnamed(class_table("voc"))
    assert matching_rows(counted, class_table("coco90")) == {}
    assert matching_rows(counted, counted) == {0: 0, 1: 1, 2: 2}
