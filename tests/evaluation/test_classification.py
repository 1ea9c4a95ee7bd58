import math

import numpy as np
import pytest
import torch

from effdet.evaluation import classification_metrics
from effdet.evaluation.classification import ranks


def test_ranks_are_those_of_a_stable_sort():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (50, 8)).astype(np.float32)  # many ties
    labels = rng.integers(0, 8, 50)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert ranks(scores, labels).tolist() == [int(np.flatnonzero(order[i] == labels[i])[0]) for i in range(50)]


def test_against_topk():
    torch.manual_seed(0)
    scores, labels = torch.randn(64, 10), torch.randint(10, (64,))
    places = ranks(scores.numpy(), labels.numpy())
    found = classification_metrics(places, labels.numpy(), [str(k) for k in range(10)])
    assert found["top1"] == pytest.approx((scores.argmax(1) == labels).float().mean().item())
    assert found["top5"] == pytest.approx((scores.topk(5).indices == labels[:, None]).any(1).float().mean().item())


def test_by_hand_and_few_classes():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [np.nan, 0.5]], np.float32)
    places = ranks(scores, np.array([1, 1, 0]))
    assert places.tolist() == [0, 1, 2]
    found = classification_metrics(places, np.array([1, 1, 0]), ["a", "b", "c"])
    assert found["top1"] == pytest.approx(1 / 3)
    assert found["top5"] == 1
    assert found["accuracy"] == {"a": 0.0, "b": 0.5}


def test_constant_answer_is_no_answer():
    assert ranks(np.zeros((4, 4), np.float32), np.arange(4)).tolist() == [0, 1, 2, 3]


def test_no_images():
    found = classification_metrics(np.zeros(0, int), np.zeros(0, int), ["a"])
    assert math.isnan(found["top1"]) and found["accuracy"] == {}
