"""Weighted samples against pycocotools on the sample written out; intervals and differences by their properties."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.evaluation import coco_metrics, confusion_matrix, segmentation_metrics
from effdet.report.statistics.bootstrap import bootstrap, paired_difference
from effdet.report.statistics.boxes import BoxSet, match
from effdet.report.statistics.precision import average_precision
from effdet.report.statistics.samples import BoxStatistic, ClassStatistic, MapStatistic
from heads.structures import UserError
from tests.report.statistics.box_sets import found, random_set, repeated, truth_of


@pytest.mark.parametrize("seed", range(6))
def test_unweighted_is_pycocotools(seed):
    truth, results = random_set(seed)
    values = BoxStatistic(match(BoxSet.of(truth, results)))(np.ones((1, 8), int))
    expected = coco_metrics(truth, results)
    for key in ("AP", "AP50", "AP75"):
        assert values[key][0] == pytest.approx(expected[key], abs=1e-12)
    for name, row in expected["per_class"].items():
        assert np.nan_to_num(values[f"AP {name}"][0], nan=-1) == pytest.approx(row["AP"], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_is_pycocotools_on_the_sample_written_out(seed):
    truth, results = random_set(seed, images=6)
    weights = np.random.default_rng(seed).multinomial(6, [1 / 6] * 6, size=5)
    values = BoxStatistic(match(BoxSet.of(truth, results)))(weights)
    for row, counts in enumerate(weights):
        expected = coco_metrics(*repeated(truth, results, counts))
        for key in ("AP", "AP50", "AP75"):
            assert np.nan_to_num(values[key][row], nan=-1) == pytest.approx(expected[key], abs=1e-12)


def test_portions_change_nothing(monkeypatch):
    matches = match(BoxSet.of(*random_set(3)))
    weights = np.random.default_rng(0).multinomial(8, [1 / 8] * 8, size=9)
    whole = average_precision(matches, weights)
    monkeypatch.setattr("effdet.report.statistics.precision._CELLS", 50)
    np.testing.assert_array_equal(average_precision(matches, weights), whole)


def test_nothing_detected_and_nothing_there():
    truth = truth_of((1, 1, [0, 0, 10, 10]))
    values = BoxStatistic(match(BoxSet.of(truth, [])))(np.array([[1], [0]]))
    assert values["AP"][0] == 0
    assert np.isnan(values["AP"][1])  # a sample without the only image has no truth
    assert np.isnan(values["AP c1"]).all()
    empty = BoxStatistic(match(BoxSet.of(truth_of(), found((1, 1, [0, 0, 5, 5], 0.5)))))
    assert np.isnan(empty(np.ones((1, 1), int))["AP"][0])


def test_intervals_hold_their_value_and_follow_the_seed():
    statistic = BoxStatistic(match(BoxSet.of(*random_set(1, images=20))))
    one, again, other = (bootstrap(statistic, samples=200, seed=seed)["AP"] for seed in (0, 0, 1))
    assert one == again != other
    assert one.low < one.value < one.high
    assert bootstrap(statistic, samples=200, level=0.5)["AP"].low > one.low


def test_the_interval_of_a_mean_is_the_normal_one():
    """Top-1 is a mean of coin tosses: its interval is ± 1.96 sqrt(p (1 - p) / n)."""
    places = (np.random.default_rng(0).random(400) < 0.3).astype(int)
    interval = bootstrap(ClassStatistic(places), samples=4000)["top1"]
    share = 1 - places.mean()
    assert interval.value == pytest.approx(share)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * np.sqrt(share * (1 - share) / 400), rel=0.06)


def test_segmentation_map_weigh_as_if_written_out():
    rng = np.random.default_rng(0)
    matrices = [confusion_matrix(rng.integers(0, 3, (8, 6)), rng.integers(0, 4, (8, 6)), 3) for _ in range(4)]
    statistic = MapStatistic.of(matrices, ["a", "b", "c"])
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 0, 4, 0]])
    values = statistic(weights)
    for row, counts in enumerate(weights):
        total = sum(count * matrix for count, matrix in zip(counts, matrices, strict=True))
        expected = segmentation_metrics(total, ["a", "b", "c"])
        assert values["mIoU"][row] == pytest.approx(expected["mIoU"])
        assert values["IoU b"][row] == pytest.approx(expected["IoU"]["b"])
        assert values["pixel_accuracy"][row] == pytest.approx(expected["pixel_accuracy"])
    assert statistic.image_scores()[2] == pytest.approx(values["mIoU"][2])


def test_a_model_does_not_differ_from_itself():
    statistic = BoxStatistic(match(BoxSet.of(*random_set(2, images=20))))
    same = paired_difference(statistic, statistic, samples=100)["AP"]
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_pairs_tell_apart_what_intervals_do_not():
    """B is right wherever A is and in one image of twenty more: each interval is wide, that of the difference is not."""
    places = (np.random.default_rng(3).random(200) < 0.4).astype(int)
    better = places.copy()
    better[np.flatnonzero(places)[:12]] = 0
    a, b = ClassStatistic(places), ClassStatistic(better)
    difference = paired_difference(a, b)["top1"]
    assert difference.value == pytest.approx(12 / 200)
    assert difference.low > 0 and difference.p < 0.01
    assert bootstrap(a)["top1"].high > bootstrap(b)["top1"].low
    back = paired_difference(b, a)["top1"]
    assert (back.low, back.high) == pytest.approx((-difference.high, -difference.low))


def test_p_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    for chance in (0.30, 0.36, 0.40, 0.45, 0.50):
        places = ((rng.random(300) < 0.5).astype(int), (rng.random(300) < chance).astype(int))
        difference = paired_difference(*map(ClassStatistic, places), samples=200)["top1"]
        assert (difference.p < 0.05) == (difference.low > 0 or difference.high < 0)


def test_what_is_on_too_few_images_has_no_interval():
    """One class on 20 images, one on a single image, which is absent from a third of the samples."""
    boxes = [(image, 1, [0.0, 0.0, 10.0, 10.0]) for image in range(1, 21)] + [(1, 2, [50.0, 0.0, 10.0, 10.0])]
    truth = truth_of(*boxes, images=20)
    statistic = BoxStatistic(match(BoxSet.of(truth, found(*((p, k, box, 0.9) for p, k, box in boxes[3:])))))
    intervals = bootstrap(statistic, samples=200)
    assert np.isnan([intervals["AP c1"].low, intervals["AP c1"].high]).all()
    assert intervals["AP c0"].low < intervals["AP c0"].value
    assert np.isnan(paired_difference(statistic, statistic, samples=200)["AP c1"].p)


def test_misuse():
    one, two = ClassStatistic(np.zeros(3, int)), ClassStatistic(np.zeros(4, int))
    with pytest.raises(UserError, match="same images, got 3 and 4"):
        paired_difference(one, two)
    with pytest.raises(UserError, match="samples=0 must be"):
        bootstrap(one, samples=0)
    with pytest.raises(UserError, match=r"level=1\.5 must lie"):
        bootstrap(one, level=1.5)
    with pytest.raises(UserError, match="no images"):
        bootstrap(ClassStatistic(np.zeros(0, int)))
