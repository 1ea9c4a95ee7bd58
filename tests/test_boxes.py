"""IoU of NumPy boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from effdet.boxes import area, iou, over_union, shared_area
from heads.detection.boxes import box_iou


def test_iou_by_hand():
    first = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 0, 0]])
    assert iou(first[:, None], second) == pytest.approx(np.array([[1, 50 / 150, 0], [0, 0, 0]]))
    assert iou(first, second[:2]) == pytest.approx(np.array([1, 0]))
    assert iou(np.zeros((0, 1, 4)), second).shape == (0, 3)
    assert area(np.array([[0, 0, 2, 3], [2, 0, 0, 3]])).tolist() == [6, 0]
    assert iou(np.zeros(4), np.zeros(4)) == 0


def test_pairs_are_those_of_tensors():
    boxes = np.random.default_rng(0).uniform(0, 100, (40, 2, 2))
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], axis=1)
    first, second = boxes[:15], boxes[15:]
    expected = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    assert np.array_equal(iou(first[:, None], second), expected)
    whole = over_union(shared_area(first[:, None], second), area(first)[:, None], area(second))
    assert np.array_equal(whole, expected)
