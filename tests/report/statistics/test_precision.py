"""Thresholds, confusion matrix and image scores by hand, and against counting at each threshold anew."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.report.statistics.boxes import BoxSet, detection_confusion, image_scores, match
from effdet.report.statistics.precision import THRESHOLDS, best_threshold, class_curves, mean_f1
from tests.report.statistics.box_sets import found, random_set, truth_of

TRUTH = truth_of((1, 1, [0, 0, 10, 10]), (1, 1, [50, 0, 10, 10]), (2, 2, [0, 0, 10, 10]), images=3)
ROWS = found(
    (1, 1, [0, 0, 10, 10], 0.9),
    (1, 1, [50, 50, 10, 10], 0.6),
    (1, 1, [50, 0, 10, 10], 0.6),
    (1, 1, [80, 80, 10, 10], 0.2),
)


def test_the_curve_of_a_class_by_hand():
    first, second = class_curves(match(BoxSet.of(TRUTH, ROWS)))
    assert first.score.tolist() == [0.9, 0.6, 0.2]  # two detections at .6 are one point
    assert first.precision.tolist() == pytest.approx([1, 2 / 3, 1 / 2])
    assert first.recall.tolist() == [0.5, 1, 1]
    assert first.f1.tolist() == pytest.approx([2 / 3, 0.8, 2 / 3])
    assert first.score[first.best] == 0.6
    assert (second.boxes, second.best) == (1, None)


def test_the_curve_between_its_points():
    first, second = class_curves(match(BoxSet.of(TRUTH, ROWS)))
    precision, recall, f1 = first.at(np.array([0.1, 0.6, 0.61, 0.95]))
    assert precision[:3].tolist() == pytest.approx([1 / 2, 2 / 3, 1]) and np.isnan(precision[3])
    assert recall.tolist() == [1, 1, 0.5, 0]
    assert f1[1] == pytest.approx(0.8)
    assert second.at(THRESHOLDS)[2].max() == 0
    assert mean_f1([first, second])[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_curves_count_as_counting_anew(seed):
    matches = match(BoxSet.of(*random_set(seed)))
    curves = class_curves(matches)
    for label, curve in enumerate(curves):
        for threshold in (0.1, 0.35, 0.8):
            kept = matches.counted & (matches.label == label) & (matches.score >= threshold)
            right, wrong = (kept & matches.hit[0]).sum(), (kept & ~matches.hit[0]).sum()
            precision, recall, _ = (values[0] for values in curve.at(np.array([threshold])))
            assert precision == pytest.approx(right / (right + wrong)) if right + wrong else np.isnan(precision)
            assert recall == pytest.approx(right / curve.boxes)
    values = mean_f1(curves)
    assert values[np.searchsorted(THRESHOLDS, best_threshold(curves))] == values.max()


def test_nothing_right_has_a_threshold_of_one_half():
    matches = match(BoxSet.of(TRUTH, found((1, 2, [70, 70, 10, 10], 0.2))))
    assert best_threshold(class_curves(matches)) == 0.5


def test_confusion_by_hand():
    rows = found(
        (1, 1, [0, 0, 10, 10], 0.9),  # right
        (1, 2, [50, 0, 10, 9], 0.8),  # class 0 taken for class 1
        (1, 2, [80, 80, 10, 10], 0.7),  # background taken for class 1
        (2, 2, [0, 0, 10, 10], 0.3),  # right, but under the threshold
    )
    boxes = BoxSet.of(TRUTH, rows)
    confusion = detection_confusion(boxes, match(boxes), score=0.5)
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_confusion_pairs_the_closest_first():
    truth = truth_of((1, 1, [0, 0, 10, 10]), (1, 2, [2, 0, 10, 10]))
    rows = found((1, 2, [0, 0, 10, 10], 0.9))  # COCO gives it the box of its class, though the other lies closer
    boxes = BoxSet.of(truth, rows)
    assert detection_confusion(boxes, match(boxes), score=0).tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    three = truth_of((1, 1, [0, 0, 10, 10]), (1, 1, [3, 0, 10, 10]), classes=3)
    boxes = BoxSet.of(three, found((1, 2, [1, 0, 10, 10], 0.9), (1, 3, [0, 0, 10, 10], 0.2)))
    assert detection_confusion(boxes, match(boxes), score=0).tolist()[0] == [0, 1, 1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_confusion_counts_everything_once(seed):
    boxes = BoxSet.of(*random_set(seed))
    matches = match(boxes)
    confusion = detection_confusion(boxes, matches, score=0.3)
    shown = matches.counted & (matches.score >= 0.3)
    assert confusion[:, :-1].sum() == shown.sum()
    assert confusion[:-1].sum() == (~boxes.crowd).sum()
    assert np.trace(confusion) == (shown & matches.hit[0]).sum()
    assert confusion[-1, -1] == 0


def test_images_by_hand():
    scores = image_scores(match(BoxSet.of(TRUTH, ROWS)), score=0.5)
    assert scores.right.tolist() == [2, 0, 0]
    assert scores.wrong.tolist() == [1, 0, 0]
    assert scores.missed.tolist() == [0, 1, 0]
    assert scores.f1[:2].tolist() == pytest.approx([0.8, 0]) and np.isnan(scores.f1[2])
    assert scores.worst(5) == [1, 0]  # the empty image is neither good nor bad
    assert scores.best(5) == [0]
