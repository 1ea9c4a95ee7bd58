"""A data set of the user's own: what its examples become, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.data import DataError, DataSpec, Example, Examples, Findings, open_dataset

NAMES = ["red", "green"]
HERE, FOLDER = __name__, Path()


def opened(function, split="train", **options):
    findings = options.pop("findings", None)
    return open_dataset(
        DataSpec("own", split=split, target={"_target_": f"{HERE}.{function}"}, **options), findings=findings
    )


def arrays(split):
    rng = np.random.default_rng(len(split))
    image = rng.integers(0, 255, (20, 30, 3), np.uint8)
    mask = np.full((20, 30), 255)
    mask[:5] = 1
    yield_ = [
        Example(image, [[1, 2, 11, 12], [3, 3, 9.5, 8]], ["green", 0], mask, crowd=[False, True], name=f"{split}/a"),
        Example(image[:10], [], (), np.zeros((10, 30), int), category="red"),
        Example(image, None, (), np.zeros((20, 30), int), category=1),
    ]
    return Examples(yield_, NAMES, ["road", "sky"])


def test_arrays_become_records():
    source = opened("arrays")
    first, second, third = source.records
    assert source.labelled == {"boxes", "semantic", "category"} and source.classes.names == ("red", "green")
    assert first.boxes.tolist() == [[1, 2, 11, 12], [3, 3, 9.5, 8]] and first.labels.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True] and first.size == (20, 30) and first.file_name == "train/a"
    assert second.has_boxes and not third.has_boxes and (first.label, second.label, third.label) == (None, 0, 1)
    assert source.read_image(second).shape == (10, 30, 3)
    assert np.array_equal(source.subset([2]).read_image(third), source.read_image(first))
    mask = source.read_mask(first)
    assert mask is not None and mask.dtype == np.uint8 and (mask[:5] == 1).all() and (mask[5:] == 255).all()
    assert source.records.class_pixels is not None and source.records.class_pixels.tolist() == [
        [0, 150],
        [300, 0],
        [600, 0],
    ]


def many(split):
    assert split == "train", "val comes out of train"
    return Examples((Example(np.zeros((9, 9, 3), np.uint8), [[1, 1, 5, 5]], [0]) for _ in range(20)), NAMES)


def test_splits_and_limits_are_those_of_every_set():
    assert len(opened("arrays", max_images=2)) == 2
    train, val = opened("many", val_fraction=0.5), opened("many", "val", val_fraction=0.5)
    assert len(train) + len(val) == 20 and not set(train.records.file_names) & set(val.records.file_names)
    assert opened("arrays", "val").records[0].file_name == "val/a"
    assert "semantic" not in opened("arrays", requested=("boxes",)).labelled


def files(split):
    directory = FOLDER
    return Examples(
        [Example(directory / "0.png", [[0, 0, 4, 4]], ["red"], directory / "mask.png")], NAMES, ["road", "sky"]
    )


def test_files_become_records(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "FOLDER", tmp_path)
    Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.full((6, 8), 1, np.uint8)).save(tmp_path / "mask.png")
    source = opened("files")
    (record,) = source.records
    assert record.image == tmp_path / "0.png" and record.size == (6, 8) and (source.read_image(record) == 9).all()
    mask = source.read_mask(record)
    assert mask is not None and (mask == 1).all()
    Image.fromarray(np.full((6, 8), 7, np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="mask.png: holds 7, and there are 2 classes and 255"):
        opened("files")


def nested(split):
    names = ("a/0.png", "b/0.png", "b/c/1.png")
    return Examples([Example(FOLDER / name, [[0, 0, 4, 4]], [0]) for name in names], NAMES, root=FOLDER)


def outside_of_root(split):
    return Examples([Example(FOLDER / "a/0.png", [[0, 0, 4, 4]], [0])], NAMES, root=FOLDER / "b")


def test_names_of_files_are_the_same_wherever_the_set_lies(tmp_path, monkeypatch):
    """``data.val_fraction`` splits by them."""
    for place in ("here", "over/there"):
        for name in ("a/0.png", "b/0.png", "b/c/1.png"):
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(tmp_path / place / name)
        monkeypatch.setitem(globals(), "FOLDER", tmp_path / place)
        assert [record.file_name for record in opened("nested").records] == ["a/0.png", "b/0.png", "b/c/1.png"]
    with pytest.raises(DataError, match="a/0.png does not lie below Examples.root=.*b; leave root out"):
        opened("outside_of_root")


def faulty(split):
    image = np.zeros((20, 30, 3), np.uint8)
    return Examples(
        [
            Example(image, [[1, 2, 11, 12], [5, 5, 5, 9]], ["blue", "red"]),
            Example(image, [[1, 2, 3, 4]], ["red", "red"]),
        ],
        NAMES,
    )


def widths_and_heights(split):
    return Examples(
        [Example(np.zeros((20, 30, 3), np.uint8), [[9, 9, 4, 5]], ["red"], name=name) for name in "ab"], NAMES
    )


def test_boxes_that_were_all_left_out_are_explained():
    with pytest.raises(DataError, match="2 images, but no box to learn from; 2 × .*first: .*a.*") as caught:
        opened("widths_and_heights")
    assert "-5" in str(caught.value), "the width"


def test_faults_are_reported_all_at_once():
    with pytest.raises(DataError) as error:
        opened("faulty")
    assert "'blue' is none of the classes red, green" in str(error.value)
    assert "1 boxes, 2 labels, 0 crowd" in str(error.value)
    findings = Findings()
    assert len(opened("faulty", findings=findings)) == 2
    assert {"unknown-category", "bad-annotation", "zero-area"} <= {item.kind for item in findings.items}


def nothing(split):
    return [1, 2]


def wrong_image(split):
    return Examples([Example(np.zeros((3, 20, 30), np.float32), [], ())], NAMES)


def same_name(split):
    return Examples([Example(np.zeros((20, 30, 3), np.uint8), [], (), name="a")] * 2, NAMES)


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("nothing", "gives a list, and must give effdet.data.Examples"),
        ("wrong_image", r"an image is \(3, 20, 30\) float32, and must be \(h, w, 3\) uint8"),
        ("same_name", "two examples have the name a"),
    ],
)
def test_what_is_no_split_is_refused(function, line):
    with pytest.raises(DataError, match=line):
        opened(function)
