"""Intervals over seeds, against SciPy's paired t-test."""

from __future__ import annotations

import math

import pytest

from effdet.report.statistics.bootstrap import paired_by_seed, spread, student_cdf, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 20])
def test_students_distribution(freedom):
    stats = pytest.importorskip("scipy.stats")
    for t in (-3.0, -0.5, 0.0, 0.1, 1.0, 2.0, 10.0):
        assert student_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)
    assert student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-12)


def test_spread_by_hand():
    assert spread([1.0, 2.0, 3.0]) == spread([3.0, 2.0, 1.0])
    assert (spread([1.0, 2.0, 3.0]).mean, spread([1.0, 2.0, 3.0]).deviation) == (2.0, 1.0)
    assert math.isnan(spread([0.5]).deviation)


def test_difference_by_seed_is_the_paired_t_test():
    stats = pytest.importorskip("scipy.stats")
    first = {"0": 0.31, "1": 0.35, "2": 0.30, "9": 0.99}
    second = {"2": 0.33, "1": 0.36, "0": 0.33, "7": 0.01}  # seeds of only one are left out
    found = paired_by_seed(first, second)
    assert found is not None
    test = stats.ttest_rel([0.33, 0.36, 0.33], [0.31, 0.35, 0.30])
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, test.pvalue), rel=1e-9)
    assert found.value == pytest.approx(0.02)


def test_seeds_that_agree_and_too_few():
    assert paired_by_seed({"0": 0.1}, {"0": 0.2}) is None
    equal = paired_by_seed({"0": 0.25, "1": 0.5}, {"0": 0.25, "1": 0.5})
    assert equal is not None and (equal.low, equal.high, equal.p) == (0.0, 0.0, 1.0)
    moved = paired_by_seed({"0": 0.25, "1": 0.5}, {"0": 0.5, "1": 0.75})
    assert moved is not None and (moved.low, moved.high, moved.p) == (0.25, 0.25, 0.0)
