"""Rules for the weights of rare classes, worked out by hand."""

import math

import pytest

from heads.class_weights import box_weights
from heads.errors import UserError


def test_by_hand():
    # sqrt: 1/10 and 1/2, whose mean over 104 boxes is (100 / 10 + 4 / 2) / 104.
    frequent, rare = box_weights([100, 4], "sqrt")
    assert rare / frequent == pytest.approx(5)
    assert 100 * frequent + 4 * rare == pytest.approx(104)
    # effective: 1 box counts as 1, two as 1.999, and endlessly many as 1,000.
    one, two, many = box_weights([1, 2, 10**6], "effective")
    assert (one / two, one / many) == (pytest.approx(1.999), pytest.approx(1000))


@pytest.mark.parametrize("rule", ["sqrt", "effective"])
def test_equal_classes_have_the_weight_one_and_so_has_one_without_boxes(rule):
    assert box_weights([7, 7, 0], rule) == pytest.approx((1, 1, 1))
    weights = box_weights([5000, 300, 0, 2], rule)
    assert weights[2] == 1 and weights[0] < weights[1] < weights[3]
    assert math.fsum(w * n for w, n in zip(weights, (5000, 300, 0, 2), strict=True)) == pytest.approx(5302)


def test_what_cannot_be_weighed():
    with pytest.raises(UserError, match="class_weights='median' is unknown; use one of sqrt, effective"):
        box_weights([1], "median")
    with pytest.raises(UserError, match="class_weights=sqrt: the training images have no box"):
        box_weights([0, 0], "sqrt")
