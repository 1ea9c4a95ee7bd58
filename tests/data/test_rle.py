"""Boxes around polygons and run-length masks."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.data.rle import hull, runs


def test_polygons():
    assert hull([[10, 20, 30, 20, 30, 44.5], [5, 25, 6, 25, 6, 26]]) == (5, 20, 25, 24.5)
    assert hull([10, 20, 30, 20, 30, 44.5]) == (10, 20, 20, 24.5)
    assert hull([["10", "20", "30", "20", "30", "44"]]) == (10, 20, 20, 24)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        [[]],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, "x"]],
        "x",
        {},
        [[1, 2, 3, 4, 5, float("nan")]],
    ],
)
def test_what_is_no_polygon(broken):
    assert hull(broken) is None


def test_runs_down_the_columns():
    # 4 high, 5 wide; ones at rows 1..2 of columns 1 and 2: zeros 5, ones 2, zeros 2, ones 2, zeros 9.
    assert hull({"size": [4, 5], "counts": [5, 2, 2, 2, 9]}) == (1, 1, 2, 2)
    # Ones from row 3 of column 0 to row 0 of column 1: the run wraps.
    assert hull({"size": [4, 5], "counts": [3, 2, 15]}) == (0, 0, 2, 4)
    assert hull({"size": [4, 5], "counts": [20]}) is None
    assert hull({"size": [4, 5], "counts": [5, 99]}) is None
    assert hull({"size": [4], "counts": [5, 2]}) is None


def test_both_forms_agree_with_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(30):
        height, width = rng.integers(1, 90, 2)
        pixels = np.zeros((height, width), np.uint8)
        for _ in range(3):
            y, x = rng.integers(0, height), rng.integers(0, width)
            pixels[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)] = 1
        encoded = mask.encode(np.asfortranarray(pixels))
        text = {"size": list(map(int, encoded["size"])), "counts": encoded["counts"].decode()}
        counts = runs(text["counts"])
        assert counts is not None and counts.sum() == height * width
        box = tuple(mask.toBbox(encoded).tolist())
        assert hull(text) == box
        assert hull({**text, "counts": counts.tolist()}) == box


@pytest.mark.parametrize("broken", ["é", "p" * 20, "P", [1, -2], [1.5], None, 7])
def test_counts_that_are_none(broken):
    assert runs(broken) is None
