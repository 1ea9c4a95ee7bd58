"""Top-1 and top-5 accuracy, by class too, which classes are taken for which, and whether confidence is accuracy.

Expected calibration error and temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks". Dividing all
logits by one temperature changes how sure a model is, never which class comes first, so accuracy stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Place of the true class in each image's order of scores, 0 = first.

    Args:
        scores: (N, K) float; logits or probabilities.
        labels: (N,) int64 in 0…K-1.

    Returns:
        (N,) int64. Equal scores rank by index, as a stable sort does, so that a model that answers one constant is right
        once in K and not always; a true class whose score is NaN comes last.
    """
    scores = np.asarray(scores, np.float32)
    labels = np.asarray(labels, np.int64)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None] < labels[:, None]
    place = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return np.where(np.isnan(own[:, 0]), scores.shape[1], place)


def first_class(scores: np.ndarray) -> np.ndarray:
    """(N,) int64: the class that comes first in the order of :func:`ranks`; scores that are NaN come last."""
    return np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)


def classification_metrics(places: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """``top1``, ``top5`` (NaN for no images) and ``accuracy`` by class name over the classes that occur.

    Args:
        places: (N,) int64 from `ranks`.
        labels: (N,) int64 true classes.
    """
    first = places < 1
    accuracy = {
        name: float(first[labels == index].mean()) for index, name in enumerate(class_names) if (labels == index).any()
    }
    return {
        "top1": float(first.mean()) if places.size else float("nan"),
        "top5": float((places < 5).mean()) if places.size else float("nan"),
        "accuracy": accuracy,
    }


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) int64 counts: row the true class, column the predicted one.

    Args:
        predicted: (N,) int64 in 0…K-1.
        labels: (N,) int64 in 0…K-1.
    """
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def confusion_metrics(counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """``class_confusion`` (K lists of K counts, rows = truth), ``class_names``, and ``precision`` by predicted name."""
    columns = counts.sum(axis=0)
    precision = {
        name: float(counts[index, index] / columns[index]) for index, name in enumerate(class_names) if columns[index]
    }
    return {"class_confusion": counts.tolist(), "class_names": list(class_names), "precision": precision}


BINS = 15
"""As in the paper."""
COLDEST, HOTTEST = 0.02, 50.0
"""Temperatures beyond are a sign of a model that is always right, or always wrong, and help no one."""


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(N, K) logits -> (N, K) float64 log-probabilities; log-probabilities come out as they went in."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf, where=~np.isnan(logits))
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> float:
    """Σ over bins of (share of images) · |mean confidence - accuracy|; NaN for no images.

    Args:
        confidence: (N,) probability of the predicted class, 0…1.
        correct: (N,) bool.
        bins: of equal width; a confidence on an edge belongs to the lower bin.
    """
    if len(confidence) == 0:
        return float("nan")
    place = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    right = np.bincount(place, weights=correct, minlength=bins)
    return float(np.abs(sure - right).sum() / len(confidence))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the mean negative log-likelihood of `labels` is least.

    The likelihood is concave in 1 / T, so the root of its slope is found by halving, and is the only one.

    Args:
        logits: (N, K), or log-probabilities; -inf where a class is impossible.
        labels: (N,) int64.
    """
    logits = np.where(np.isneginf(logits), -1e4, np.asarray(logits, np.float64))
    true = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]

    def slope(inverse: float) -> float:
        """Of the mean negative log-likelihood at 1 / T: expected logit under the model - logit of the true class."""
        probabilities = np.exp(log_softmax(logits * inverse))
        return float(((probabilities * logits).sum(axis=1) - true).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) <= 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def calibration_metrics(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """``ECE`` on all images, and what temperature scaling makes of it.

    The temperature is fitted on every other image (by place in the set), and both errors under ``calibration`` are those
    of the others, which it has not seen. Keys there: ``temperature``, ``ECE_before``, ``ECE_after``, ``images``.

    Args:
        log_probabilities: (N, K), the set's classes.
        labels: (N,) int64.
    """
    scores = log_softmax(log_probabilities) if len(labels) else np.zeros((0, 1))
    found: dict[str, Any] = {"ECE": _error(scores, labels)}
    fitted, held = slice(0, None, 2), slice(1, None, 2)
    if len(labels[held]):
        temperature = fit_temperature(scores[fitted], labels[fitted])
        found["calibration"] = {
            "temperature": temperature,
            "ECE_before": _error(scores[held], labels[held]),
            "ECE_after": _error(log_softmax(scores[held] / temperature), labels[held]),
            "images": len(labels[held]),
        }
    return found


def _error(scores: np.ndarray, labels: np.ndarray) -> float:
    best = scores.argmax(axis=1)
    return expected_calibration_error(np.exp(scores.max(axis=1, initial=-np.inf)), best == labels)
