"""Matches against pycocotools' own, image by image, and by hand."""

from __future__ import annotations

import contextlib
import io
from dataclasses import fields

import numpy as np
import pytest

from effdet.evaluation.coco import measure
from effdet.evaluation.coco_format import coco_inputs
from effdet.report.statistics.boxes import BoxSet, match, matches_of
from tests.report.statistics.box_sets import found, random_set, truth_of


def pycocotools_matches(truth, results):
    """``{(image, class, score): (hit (10,), ignored (10,))}``."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = coco_inputs(truth, results)
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (data.truth, data.results):
            coco = COCO()
            coco.dataset = {"images": data.images, "categories": data.categories, "annotations": annotations}
            coco.createIndex()
            sides.append(coco)
        evaluator = COCOeval(*sides, "bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.evaluate()
    cells = {}
    for entry in evaluator.evalImgs:
        for column, score in enumerate(entry["dtScores"] if entry else ()):
            hit, ignored = entry["dtMatches"][:, column] > 0, entry["dtIgnore"][:, column].astype(bool)
            cells[entry["image_id"] - 1, entry["category_id"] - 1, score] = (hit & ~ignored, ignored)
    return cells


@pytest.mark.parametrize("seed", range(6))
def test_matches_are_those_of_pycocotools(seed):
    truth, results = random_set(seed, images=12)
    matches = match(BoxSet.of(truth, results))
    expected = pycocotools_matches(truth, results)
    assert len(matches.score) == len(expected)
    for row, key in enumerate(zip(matches.image, matches.label, matches.score, strict=True)):
        hit, ignored = expected[key]
        np.testing.assert_array_equal(matches.hit[:, row], hit)
        np.testing.assert_array_equal(matches.ignored[:, row], ignored)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cap", [None, 200])
def test_the_evaluations_own_matches_are_the_same(seed, cap):
    truth, results = random_set(seed, images=12)
    results += [{**results[0], "score": 0.3 + index / 1000} for index in range(130 * (seed % 2))]
    data, boxes = coco_inputs(truth, results), BoxSet.of(truth, results)
    metrics, pairs = measure(data, cap=cap)
    assert pairs is not None
    for field in fields(ours := match(boxes)):
        np.testing.assert_array_equal(getattr(matches_of(boxes, pairs), field.name), getattr(ours, field.name))
    usual, _ = measure(data)
    assert {name: metrics[name] for name in usual} == usual  # one pass gives the wider cap too, and changes nothing


def test_nothing_found_or_nothing_there():
    for truth, results in ((truth_of((1, 1, [0, 0, 9, 9])), []), (truth_of(), found((1, 1, [0, 0, 9, 9], 0.5)))):
        boxes, (_, pairs) = BoxSet.of(truth, results), measure(coco_inputs(truth, results))
        assert pairs is not None and not matches_of(boxes, pairs).hit.any()
        assert matches_of(boxes, pairs).truth.tolist() == match(boxes).truth.tolist()


def test_the_matched_true_box_is_named():
    truth = truth_of((1, 1, [0, 0, 10, 10]), (1, 1, [50, 0, 10, 10]))
    matches = match(BoxSet.of(truth, found((1, 1, [50, 0, 10, 10], 0.4), (1, 1, [0, 0, 10, 10], 0.9))))
    assert matches.score.tolist() == [0.9, 0.4]
    assert matches.truth.tolist() == [0, 1]


def test_a_crowd_takes_any_number_and_counts_as_neither():
    truth = truth_of((1, 1, [0, 0, 50, 50]), crowd=(0,))
    matches = match(BoxSet.of(truth, found((1, 1, [0, 0, 10, 10], 0.9), (1, 1, [20, 20, 10, 10], 0.8))))
    assert matches.ignored.all() and not matches.hit.any()
    assert matches.truth.tolist() == [-1, -1]


def test_of_an_image_and_class_a_hundred_count():
    truth = truth_of((1, 1, [0, 0, 10, 10]), (2, 1, [0, 0, 10, 10]), images=2)
    rows = [(1, 1, [float(index), 30.0, 5.0, 5.0], 0.5 + index / 1000) for index in range(130)]
    rows += [(1, 2, [0.0, 0.0, 5.0, 5.0], 0.1), (2, 1, [0.0, 0.0, 10.0, 10.0], 0.2)]
    boxes = BoxSet.of(truth, found(*rows))
    assert len(boxes.score) == 102
    assert boxes.score[:100].min() == pytest.approx(0.53)
    assert boxes.image.tolist() == [0] * 101 + [1]


def test_images_without_boxes_are_counted_and_not_walked():
    truth = truth_of((2, 1, [0, 0, 10, 10]), images=4)
    boxes = BoxSet.of(truth, [])
    assert [index for index, *_ in boxes] == [1]
    assert match(boxes).images == 4
