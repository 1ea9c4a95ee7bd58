"""Top-1 and top-5 accuracy, by class too, and which classes are taken for which."""

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
        class_names: K names.
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
        classes: K.
    """
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def confusion_metrics(counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """``class_confusion`` (K lists of K counts, rows = truth), ``class_names``, and ``precision`` by predicted name."""
    columns = counts.sum(axis=0)
    precision = {
        name: float(counts[index, index] / columns[index]) for index, name in enumerate(class_names) if columns[index]
    }
    return {"class_confusion": counts.tolist(), "class_names": list(class_names), "precision": precision}
