"""Calibration against values worked out by hand and against a search over a grid."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from effdet.evaluation import ClassificationEvaluator, EvalBatch, same_classes
from effdet.evaluation.classification import (
    calibration_metrics,
    confusion,
    confusion_metrics,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
)
from heads.structures import ClassTable, Geometry


def sure_logits(count: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels are drawn from their own softmax, then multiplied: the true temperature is `factor`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, 5))
    cumulative = np.exp(log_softmax(logits)).cumsum(axis=1)
    labels = (rng.random((count, 1)) > cumulative).sum(axis=1).clip(0, 4)
    return logits * factor, labels


def test_ece_by_hand():
    # Two bins of (0, .5] and (.5, 1]: |.4 - 1| · 1/4 + |(.6 + .8 + 1) / 3 - 1/3| · 3/4.
    confidence = np.array([0.4, 0.6, 0.8, 1.0])
    correct = np.array([True, True, False, False])
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(0.6 / 4 + (2.4 - 1) / 4)
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_an_edge_belongs_to_the_lower_bin():
    assert expected_calibration_error(np.array([0.5, 0.9]), np.array([1, 0]), bins=2) == pytest.approx((0.5 + 0.9) / 2)


def test_the_temperature_is_found_again():
    logits, labels = sure_logits(20_000, factor=2.5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.03)
    shifted = log_softmax(logits)  # log-probabilities do as well as logits
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-9)


def test_the_temperature_is_the_best_of_a_grid():
    logits, labels = sure_logits(300, factor=0.7, seed=3)

    def loss(temperature: float) -> float:
        return -float(np.take_along_axis(log_softmax(logits / temperature), labels[:, None], 1).mean())

    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 2001))
    best = min(grid, key=loss)
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=0.004)


def test_scaling_mends_what_it_has_not_seen_and_moves_no_class():
    logits, labels = sure_logits(4000, factor=3.0)
    found = calibration_metrics(logits, labels)
    scaled = found["calibration"]
    assert found["ECE"] > 0.1
    assert scaled["ECE_after"] < 0.03 < scaled["ECE_before"]
    assert scaled["images"] == 2000
    assert np.array_equal((logits / scaled["temperature"]).argmax(1), logits.argmax(1))


def test_extremes():
    always_right = np.log(np.array([[0.9, 0.1]] * 4))
    assert fit_temperature(always_right, np.zeros(4, int)) == pytest.approx(0.02, rel=0.01)
    impossible = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    assert np.isfinite(fit_temperature(impossible, np.array([0, 0])))
    assert "calibration" not in calibration_metrics(np.zeros((1, 2)), np.zeros(1, int))
    assert math.isnan(calibration_metrics(np.zeros((0, 2)), np.zeros(0, int))["ECE"])


def test_confusion_by_hand():
    counts = confusion(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    found = confusion_metrics(counts, ["a", "b", "c"])
    assert found["precision"] == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert found["class_confusion"] == counts.tolist()


def batch_of(labels: list[int | None], first: int = 0) -> EvalBatch:
    return EvalBatch(
        images=torch.zeros(len(labels), 3, 4, 4, dtype=torch.uint8),
        geometries=(Geometry((4, 4), (4, 4)),) * len(labels),
        records=tuple(SimpleNamespace(label=label) for label in labels),
        indices=tuple(range(first, first + len(labels))),
    )


def test_the_evaluator_on_batches_and_on_processes():
    table = ClassTable.of(["a", "b", "c"])
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    whole, left, right = (ClassificationEvaluator(same_classes(table)) for _ in range(3))
    whole.update(scores, batch_of([0, 1, 1, None]))
    left.update(scores[:2], batch_of([0, 1]))
    right.update(scores[2:], batch_of([1, None], first=2))
    left.merge([right.state(), left.state()])
    assert left.metrics() == whole.metrics()
    found = whole.metrics()
    assert found["top1"] == pytest.approx(2 / 3) and found["accuracy"] == {"a": 1.0, "b": 0.5}
    assert found["class_confusion"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert found["ECE"] == pytest.approx((0.3 + 0.6 + 0.5) / 3)
