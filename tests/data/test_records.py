"""Records in flat arrays."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from effdet.data import Dataset, Record, RecordTable
from effdet.data.records import counted_boxes
from effdet.evaluation import coco_metrics
from heads.structures import ClassTable, UserError


def record(identity: int, boxes: list[list[float]], **changes) -> Record:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(array)
    values = {
        "image": Path(f"/set/{identity}.jpg"),
        "image_id": identity,
        "file_name": f"{identity}.jpg",
        "width": 100,
        "height": 50,
        "boxes": array,
        "labels": np.arange(count) % 2,
        "crowd": np.zeros(count, np.bool_),
        "area": (array[:, 2:] - array[:, :2]).prod(axis=1),
        "annotation_ids": np.arange(count) + 10 * identity,
    }
    return Record(**{**values, **changes})


@pytest.fixture
def records():
    return [
        record(1, [[0, 0, 10, 10], [5, 5, 20, 30]]),
        record(2, [], label=3, mask=Path("/set/2.png"), has_boxes=False),
        record(3, [[1, 2, 3, 4]]),
    ]


def same(first: Record, second: Record) -> bool:
    arrays = ("boxes", "labels", "crowd", "area", "annotation_ids")
    plain = ("image", "image_id", "file_name", "width", "height", "mask", "label", "has_boxes")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays) and all(
        getattr(first, name) == getattr(second, name) for name in plain
    )


def test_round_trip(records):
    table = RecordTable.of(records)
    assert len(table) == 3
    assert all(same(first, second) for first, second in zip(table, records, strict=True))
    assert same(table[-1], records[2])
    assert [item.image_id for item in table[1:]] == [2, 3]
    with pytest.raises(IndexError):
        table[3]


def test_nothing_at_all():
    table = RecordTable.of([])
    assert len(table) == 0
    assert table.subset([]).bbox.shape == (0, 4)


def test_subset_keeps_the_order_asked_for(records):
    table = RecordTable.of(records).subset([2, 0, 2])
    assert all(same(first, records[index]) for first, index in zip(table, (2, 0, 2), strict=True))


def test_source_round_trip_of_ids(records):
    records = [record(1, [[0, 0, 10, 10]], annotation_ids=np.array([0])), records[2]]
    source = Dataset(records, ClassTable(("a", "b"), (5, 9)), name="x", split="train")
    truth = source.coco()
    assert truth["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 5, "area": 100, "iscrowd": 0, "bbox": [0, 0, 10, 10]},
        {"id": 2, "image_id": 3, "category_id": 5, "area": 4, "iscrowd": 0, "bbox": [1, 2, 2, 2]},
    ]
    assert truth["categories"] == [{"id": 5, "name": "a"}, {"id": 9, "name": "b"}]
    assert truth["images"][0] == {"id": 1, "file_name": "1.jpg", "height": 50, "width": 100}


def test_fingerprint_sees_labels_and_not_places(records):
    classes = ClassTable.of(("a", "b"))

    def print_of(items, table=classes):
        return Dataset(items, table, name="x", split="train").fingerprint()

    first = print_of(records)
    assert first == print_of(records)
    moved = [record(1, [[0, 0, 10, 10], [5, 5, 20, 30]], image=Path("/other/1.jpg")), *records[1:]]
    assert first == print_of(moved)
    assert first != print_of(records[:2])
    assert first != print_of(records, ClassTable.of(("a", "c")))
    assert first != print_of([record(1, [[0, 0, 10, 10], [5, 5, 20, 31]]), *records[1:]])


def test_boxes_far_outside_are_clipped_in_the_truth():
    table = RecordTable.of([record(1, [[-0.5, 0, 100.5, 50], [-20, 0, 30, 60]])])
    assert counted_boxes(table).tolist() == [[-0.5, 0, 101, 50], [0, 0, 30, 50]]
    assert table[0].boxes.tolist() == [[0, 0, 100, 50], [0, 0, 30, 50]]


def test_small_boxes_that_rounding_pushes_out_are_found_by_perfect_predictions():
    """Hanging over by .3 of 5.7 pixels: the visible part has an IoU of 5.4 / 5.7 = .947 with the box as given."""
    table = RecordTable.of([record(1, [[94.6, 10, 100.3, 15.7], [94.9, 10, 100.1, 15.2]])])
    assert counted_boxes(table)[:, 2].tolist() == pytest.approx([5.4, 5.2], abs=1e-4)
    truth = Dataset(table, ClassTable.of(("a", "b")), name="x", split="val").coco()
    perfect = [
        {"image_id": 1, "category_id": row["category_id"], "score": 1.0, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for row, (x1, y1, x2, y2) in zip(truth["annotations"], table[0].boxes.tolist(), strict=True)
    ]
    assert coco_metrics(truth, perfect)["AP"] == pytest.approx(1)


def test_a_source_travels_to_workers(records):
    source = Dataset(records, ClassTable.of(("a", "b")), name="x", split="train")
    assert pickle.loads(pickle.dumps(source)).fingerprint() == source.fingerprint()


def test_subset_of_a_source_is_its_own(records):
    source = Dataset(records, ClassTable.of(("a", "b")), name="x", split="train", warnings=["w"])
    smaller = source.subset([1])
    smaller.warnings.append("more")
    assert (len(source), len(smaller)) == (3, 1)
    assert source.warnings == ["w"]


def test_what_a_source_may_label(records):
    with pytest.raises(UserError, match=r"labelled=\['colour'\]"):
        Dataset(records, ClassTable.of(("a",)), name="x", split="train", labelled=["colour"])
