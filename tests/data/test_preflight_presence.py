"""Classes that a split names and does not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from effdet.data.preflight import unseen_classes
from effdet.data.records import Dataset, Record, RecordTable
from heads.structures import ClassTable


def record(labels: list[int], *, crowd: bool = False, label: int | None = None) -> Record:
    count = len(labels)
    return Record(
        image="x.png", image_id=1, file_name="x.png", width=9, height=9,
        boxes=np.tile(np.array([[0, 0, 4, 4]], np.float32), (count, 1)), labels=np.array(labels, np.int64),
        crowd=np.full(count, crowd), area=np.ones(count, np.float32), annotation_ids=np.arange(1, count + 1), label=label,
    )  # fmt: skip


def boxes(names: list[str], *records: Record, split: str = "train") -> Dataset:
    return Dataset(list(records), ClassTable.of(names), name="x", split=split)


def masks(pixels: list[list[int]], split: str = "train") -> Dataset:
    table = replace(RecordTable.of([record([])] * len(pixels)), class_pixels=np.array(pixels))
    classes = ClassTable.of(["bg", "fg"])
    return Dataset(table, classes, name="masks", split=split, labelled=["semantic"], semantic_classes=classes)


def test_every_class_shown_says_nothing() -> None:
    whole = boxes(["a", "b"], record([0, 1]))
    assert unseen_classes(whole, whole) == []


def test_a_class_without_a_box() -> None:
    train = boxes(["a", "b", "c"], record([0, 2]), record([1], crowd=True))
    val = boxes(["a", "b", "c"], record([0, 1]), split="val")
    assert unseen_classes(train, val) == [
        "train: no box of 1 of 3 classes (b): nothing can be learnt of it",
        "val: shows 1 of 3 classes (b), of which train has none: it cannot be found",
        "val: no box of 1 of 3 classes (c): it is not measured",
    ]


def test_a_class_of_val_that_train_does_not_even_name() -> None:
    found = unseen_classes(boxes(["a"], record([0])), boxes(["a", "dog"], record([0, 1]), split="val"))
    assert found == ["val: shows 1 of 2 classes (dog), of which train has none: it cannot be found"]


def test_masks_whose_foreground_is_ignored() -> None:
    train, val = masks([[50, 0], [40, 0]]), masks([[9, 0]], "val")
    assert unseen_classes(train, val) == [
        "train: no pixel of 1 of 2 classes (fg): nothing can be learnt of it; do data.values and data.ignored fit the values "
        "in the masks?",
        "val: no pixel of 1 of 2 classes (fg): it is not measured",
    ]


def test_categories() -> None:
    names = ["a", "b"]
    train = Dataset([record([], label=1)], ClassTable.of(names), name="x", split="train", labelled=["category"])
    val = Dataset([record([], label=0)], ClassTable.of(names), name="x", split="val", labelled=["category"])
    assert [line.partition(" (")[0] for line in unseen_classes(train, val)] == [
        "train: no image of 1 of 2 classes",
        "val: shows 1 of 2 classes",
        "val: no image of 1 of 2 classes",
    ]


def test_many_are_not_all_named() -> None:
    train = boxes([f"c{number}" for number in range(30)], record([0]))
    assert "29 of 30 classes (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 19 more)" in unseen_classes(train, train)[0]
