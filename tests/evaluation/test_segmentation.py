import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from effdet.evaluation import CITYSCAPES_CATEGORIES, confusion_matrix, segmentation_metrics
from effdet.evaluation.segmentation import IGNORE
from heads.structures import UserError


def test_by_hand():
    truth = np.array([[0, 0, 1], [1, 255, 2]])
    predicted = np.array([[0, 1, 1], [1, 0, 3]])  # 3: none of the three classes
    matrix = confusion_matrix(truth, predicted, 3)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]
    found = segmentation_metrics(matrix, ["a", "b", "c"], categories={"ab": ["a", "b"]})
    assert found["IoU"] == pytest.approx({"a": 1 / 2, "b": 2 / 3, "c": 0})
    assert found["mIoU"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert found["pixel_accuracy"] == pytest.approx(3 / 5)
    assert found["mean_accuracy"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["pixels"] == {"a": 2, "b": 2, "c": 1}
    assert found["category_IoU"] == {"ab": 1.0}
    assert found["category_mIoU"] == 1.0


@settings(max_examples=60, deadline=None)
@given(
    maps=st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, IGNORE])),
            hnp.arrays(np.uint8, shape, elements=st.integers(0, 5)),
        )
    )
)
def test_equals_sets_of_pixels(maps):
    """IoU of a class as the intersection and union of two sets of pixels, ignored ones taken out of both."""
    truth, predicted = maps
    names = ["a", "b", "c", "d"]
    found = segmentation_metrics(confusion_matrix(truth, predicted, 4), names)
    counted, measured = truth != IGNORE, []
    for index, name in enumerate(names):
        mine, right = (predicted == index) & counted, truth == index
        union = (mine | right).sum()
        if union:
            measured.append((mine & right).sum() / union)
            assert found["IoU"][name] == pytest.approx(measured[-1])
        else:
            assert math.isnan(found["IoU"][name])
    assert found["mIoU"] == pytest.approx(np.mean(measured)) if measured else math.isnan(found["mIoU"])


def test_square_and_wide_matrices_agree():
    square = np.array([[5, 1], [2, 7]])
    wide = np.concatenate([square, np.zeros((2, 1), int)], axis=1)
    assert segmentation_metrics(square, ["a", "b"]) == segmentation_metrics(wide, ["a", "b"])


def test_cityscapes_categories_come_by_themselves():
    names = [name for members in CITYSCAPES_CATEGORIES.values() for name in members]
    matrix = np.zeros((19, 19), int)
    car, truck = names.index("car"), names.index("truck")
    matrix[car, truck] = 4
    found = segmentation_metrics(matrix, names)
    assert found["mIoU"] == 0
    assert found["category_IoU"]["vehicle"] == 1
    assert found["category_mIoU"] == 1
    assert "category_IoU" not in segmentation_metrics(np.eye(2, dtype=int), ["car", "truck"])


def test_nothing_at_all_is_nan():
    found = segmentation_metrics(np.zeros((2, 2), int), ["a", "b"])
    assert math.isnan(found["mIoU"]) and math.isnan(found["pixel_accuracy"])


def test_large_counts_stay_exact():
    found = segmentation_metrics(np.array([[2**40, 0], [2**40, 2**41]]), ["a", "b"])
    assert found["IoU"]["a"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: segmentation_metrics(np.zeros((2, 2)), ["a"]),
            r"confusion must be \(1, 1\) for 1 class names, got \(2, 2\)",
        ),
        (lambda: segmentation_metrics(-np.eye(2), ["a", "b"]), "negative entry"),
        (lambda: segmentation_metrics(np.eye(1), ["a"], categories={"x": ["q"]}), "class 'q', which is not among a"),
        (lambda: confusion_matrix(np.zeros((2, 2), int), np.zeros((2, 3), int), 2), "must have one size"),
        (lambda: confusion_matrix(np.full((2, 2), 7), np.zeros((2, 2), int), 3), "has class 7, but there are only 3"),
    ],
)
def test_errors(call, text):
    with pytest.raises(UserError, match=text):
        call()
