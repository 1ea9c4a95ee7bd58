"""Kinds of mistakes and their costs: hand cases, and numbers that the authors' own program gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from effdet.report.statistics.boxes import BoxSet, match
from effdet.report.statistics.errors import KINDS, error_breakdown, find_mistakes
from tests.report.statistics.box_sets import found, random_set, truth_of

TIDECV = Path(__file__).with_name("tidecv.json")
"""AP50, counts and costs of ``random_set(seed, images=25, crowds=False)`` by tidecv 1.0.1."""


def breakdown(truth, results):
    boxes = BoxSet.of(truth, results)
    return error_breakdown(boxes, match(boxes))


def kinds(truth, results):
    """The kind of each detection by falling score; None for those that are none."""
    boxes = BoxSet.of(truth, results)
    return [KINDS[kind] if kind >= 0 else None for kind in find_mistakes(boxes, match(boxes)).kind]


def test_each_kind_by_hand():
    truth = truth_of((1, 1, [0, 0, 10, 10]), (1, 2, [40, 0, 10, 10]))
    rows = found(
        (1, 1, [0, 0, 10, 10], 0.9),  # right
        (1, 1, [0, 0, 10, 9], 0.8),  # its box is taken
        (1, 2, [45, 0, 10, 10], 0.7),  # IoU 1/3 with its own class
        (1, 1, [40, 0, 10, 10], 0.6),  # on a box of the other class
        (1, 1, [45, 0, 10, 10], 0.5),  # other class, IoU 1/3
        (1, 1, [80, 80, 10, 10], 0.4),  # nothing there
    )
    assert kinds(truth, rows) == [None, "Dupe", "Loc", "Cls", "Both", "Bkg"]
    found_out = breakdown(truth, rows)
    assert found_out.counts == {"Cls": 1, "Loc": 1, "Both": 1, "Dupe": 1, "Bkg": 1, "Missed": 0}


def test_what_each_mend_gains_by_hand():
    """Class 0: one box found first: AP 1. Class 1: one box, a poor box at .7 and nothing else: AP 0."""
    truth = truth_of((1, 1, [0, 0, 10, 10]), (1, 2, [40, 0, 10, 10]))
    result = breakdown(truth, found((1, 1, [0, 0, 10, 10], 0.9), (1, 2, [45, 0, 10, 10], 0.7)))
    assert result.ap50 == pytest.approx(0.5)
    assert result.cost["Loc"] == pytest.approx(0.5)
    assert result.cost["Missed"] == 0  # the true box would be found, were the poor box mended
    assert result.false_negatives == pytest.approx(
        0.0
    )  # one class is left without true boxes and with a false alarm: AP 0
    assert result.false_positives == 0


def test_false_alarms_above_the_right_ones():
    """Two false alarms above the right box: AP 1/3, 1 without them."""
    truth = truth_of((1, 1, [0, 0, 10, 10]), classes=1)
    rows = found((1, 1, [60, 0, 9, 9], 0.9), (1, 1, [60, 60, 9, 9], 0.8), (1, 1, [0, 0, 10, 10], 0.7))
    result = breakdown(truth, rows)
    assert result.ap50 == pytest.approx(1 / 3)
    assert result.cost["Bkg"] == result.false_positives == pytest.approx(2 / 3)


def test_missed_and_nothing_detected():
    truth = truth_of((1, 1, [0, 0, 10, 10]), (1, 1, [50, 0, 10, 10]), classes=1)
    half = breakdown(truth, found((1, 1, [0, 0, 10, 10], 0.9)))
    assert half.counts["Missed"] == 1
    assert half.cost["Missed"] == half.false_negatives == pytest.approx(1 - half.ap50)
    none = breakdown(truth, [])
    assert none.counts["Missed"] == 2 and none.ap50 == 0


def test_only_one_error_may_find_a_true_box():
    """Two poor boxes of one true box: mending takes the better scored and drops the other."""
    truth = truth_of((1, 1, [0, 0, 10, 10]), classes=1)
    rows = found((1, 1, [5, 0, 10, 10], 0.5), (1, 1, [0, 5, 10, 10], 0.9))
    boxes = BoxSet.of(truth, rows)
    assert find_mistakes(boxes, match(boxes)).mended.tolist() == [0, -1]
    assert breakdown(truth, rows).cost["Loc"] == pytest.approx(1)


def test_detections_on_a_crowd_are_no_mistakes():
    truth = truth_of((1, 1, [0, 0, 50, 50]), (1, 1, [80, 0, 10, 10]), crowd=(0,), classes=1)
    rows = found((1, 1, [5, 5, 10, 10], 0.9), (1, 1, [80, 0, 10, 10], 0.5))
    assert kinds(truth, rows) == [None, None]
    assert breakdown(truth, rows).ap50 == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_authors_program(seed, monkeypatch):
    # It counts recalls in hundredths; pycocotools' floats miss a few of those by a rounding error.
    monkeypatch.setattr("effdet.report.statistics.precision.RECALLS", np.arange(101) / 100)
    expected = json.loads(TIDECV.read_text())[str(seed)]
    result = breakdown(*random_set(seed, images=25, crowds=False))
    assert result.ap50 == pytest.approx(expected["ap50"], abs=1e-9)
    assert result.counts == expected["counts"]
    assert result.cost == pytest.approx(expected["cost"], abs=1e-9)
    assert result.false_positives == pytest.approx(expected["false_positives"], abs=1e-9)
    assert result.false_negatives == pytest.approx(expected["false_negatives"], abs=1e-9)
