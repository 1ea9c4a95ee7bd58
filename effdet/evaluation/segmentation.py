"""Semantic segmentation metrics from one confusion matrix over the whole set.

Cityscapes' rules (cordts2016; the official evaluator): IoU = TP / (TP + FP + FN) from a confusion matrix summed over all
images, pixels whose truth is ignored left out of everything; a class that occurs neither in truth nor in prediction has
no IoU (NaN) and stays out of the mean. A category's IoU merges its classes first, so that a car taken for a truck is right
in "vehicle".

Cityscapes' iIoU: the IoU in which every object counts as much as an average one of its class.

Per-pixel IoU is a matter of the large, near objects. iIoU (cordts2016, section 4.2) therefore weighs the true pixels of each
object by (average size of its class) / (its own size): iIoU = iTP / (iTP + FP + iFN). False positives belong to no object and
stay unweighted. Groups of objects count nowhere in iTP and iFN, as in the official evaluator. A category's iIoU takes any
class of the category for right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heads.structures import UserError

IGNORE = 255
"""Truth value of pixels that count nowhere."""
CITYSCAPES_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
AVERAGE_PIXELS: Mapping[str, float] = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Average pixels of an object in Cityscapes' train split at 2048×1024 (the constants of the official evaluator)."""
OBJECT_CATEGORIES = {
    name: members for name, members in CITYSCAPES_CATEGORIES.items() if {*members} <= {*AVERAGE_PIXELS}
}
"""Those categories of which all classes have objects."""
OBJECT_BASE = 1000


class ObjectCounter:
    """Weighed pixels of the objects of one image.

    Args:
        class_names: K names; those of `AVERAGE_PIXELS` are counted.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.classes = len(class_names)
        self._average = np.array([AVERAGE_PIXELS.get(name, 0.0) for name in class_names])
        groups = {name: row for row, members in enumerate(OBJECT_CATEGORIES.values()) for name in members}
        # One entry more for "none of the classes", which is in no category.
        self._category = np.array([*(groups.get(name, -1) for name in class_names), -1])

    def __call__(self, instances: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """
        Args:
            instances: (H, W) int32 true objects, ``1000 · (class + 1) + number`` and 0 elsewhere.
            predicted: (H, W) integers in 0…K, K for none of the classes.

        Returns:
            (K, 4) float64 sums over the objects of each class: weighed pixels that are right, missed, right as far as the
            category goes, missed as far as it goes.
        """
        inside = instances > 0
        objects, place, sizes = np.unique(instances[inside], return_inverse=True, return_counts=True)
        own = objects.astype(np.int64) // OBJECT_BASE - 1
        found = predicted[inside]
        right = np.bincount(place, found == own[place], minlength=len(objects))
        akin = self._category[found] == self._category[own[place]]
        akin &= self._category[found] >= 0
        near = np.bincount(place, akin, minlength=len(objects))
        weight = self._average[own] / np.maximum(sizes, 1)
        columns = (right, sizes - right, near, sizes - near)
        return np.stack([np.bincount(own, column * weight, minlength=self.classes) for column in columns], axis=1)


def instance_ious(
    confusion: np.ndarray, objects: np.ndarray, class_names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """iIoU of the classes with objects, and of their categories.

    Args:
        confusion: (K, K) or (K, K + 1) pixels, rows = truth.
        objects: (K, 4) sums of :class:`ObjectCounter` over all images.
        class_names: K names.

    Returns:
        By class and by category; NaN for those that occur nowhere.
    """
    index = {name: row for row, name in enumerate(class_names)}
    classes = {}
    for name in AVERAGE_PIXELS:
        if name in index:
            row = index[name]
            false = confusion[:, row].sum() - confusion[row, row]
            classes[name] = _iou(objects[row, 0], false, objects[row, 1])
    categories = {}
    for name, members in OBJECT_CATEGORIES.items():
        rows = [index[member] for member in members if member in index]
        if len(rows) == len(members):
            false = confusion[:, rows].sum() - confusion[np.ix_(rows, rows)].sum()
            categories[name] = _iou(objects[rows, 2].sum(), false, objects[rows, 3].sum())
    order = {name: classes[name] for name in class_names if name in classes}
    return order, categories


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by (truth, prediction) of one image.

    Args:
        truth: (H, W) integers in 0…classes-1, or `IGNORE`.
        predicted: (H, W) integers of the same size; a value past the last class means "none of these".

    Returns:
        (K, K + 1) int64, rows = truth; the last column counts pixels predicted as none of the classes.
    """
    if truth.shape != predicted.shape:
        raise UserError(f"truth and prediction must have one size, got {truth.shape} and {predicted.shape}")
    counted = truth != IGNORE
    rows = truth[counted].astype(np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= classes):
        raise UserError(
            f"the truth has class {int(rows.max())}, but there are only {classes} classes (0…{classes - 1})"
        )
    columns = np.minimum(predicted[counted].astype(np.int64), classes)
    columns[columns < 0] = classes
    flat = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return flat.reshape(classes, classes + 1)


def segmentation_metrics(
    confusion: np.ndarray,
    class_names: Sequence[str],
    *,
    categories: Mapping[str, Sequence[str]] | None = None,
    objects: np.ndarray | None = None,
) -> dict[str, Any]:
    """IoU, accuracy, category IoU and, where the truth tells objects apart, iIoU.

    Args:
        confusion: (K, K) integers, rows = truth, or (K, K + 1) where the last column counts pixels predicted as none of
            the classes (misses of their true class).
        class_names: K names.
        categories: names of merged categories and their classes; None takes Cityscapes' seven where `class_names` are
            its 19, and no categories otherwise.
        objects: (K, 4) sums of :class:`effdet.evaluation.segmentation.ObjectCounter`, or None without object maps.

    Returns:
        ``mIoU``, ``IoU`` by class name (NaN for a class that occurs nowhere), ``pixel_accuracy``, ``mean_accuracy``
        (recall averaged over the classes that occur), ``pixels`` of truth by class name, ``confusion`` (rows of pixels by
        predicted class, the last column for none of them) and, where there are categories, ``category_mIoU`` and
        ``category_IoU``; with `objects` also ``miIoU``, ``iIoU``, ``category_miIoU`` and ``category_iIoU``.
    """
    matrix = np.asarray(confusion)
    classes = len(class_names)
    if matrix.ndim != 2 or matrix.shape[0] != classes or matrix.shape[1] not in (classes, classes + 1):
        raise UserError(f"confusion must be ({classes}, {classes}) for {classes} class names, got {matrix.shape}")
    if matrix.size and matrix.min() < 0:
        raise UserError("confusion must hold counts, got a negative entry")
    none = np.zeros((classes, classes + 1 - matrix.shape[1]), matrix.dtype)
    counts, matrix = np.concatenate([matrix, none], axis=1), matrix.astype(np.float64)
    truth, predicted, hits = matrix.sum(1), matrix[:, :classes].sum(0), np.diagonal(matrix[:, :classes])
    iou = ratio(hits, truth + predicted - hits)
    metrics: dict[str, Any] = {
        "mIoU": _mean(iou),
        "pixel_accuracy": float(ratio(hits.sum(), truth.sum())),
        "mean_accuracy": _mean(ratio(hits, truth)),
        "IoU": {name: float(value) for name, value in zip(class_names, iou, strict=True)},
        "pixels": {name: int(value) for name, value in zip(class_names, truth, strict=True)},
        "confusion": counts.tolist(),
    }
    if categories is None:
        known = {name for members in CITYSCAPES_CATEGORIES.values() for name in members}
        categories = CITYSCAPES_CATEGORIES if known == set(class_names) else {}
    if categories:
        values = {name: _category_iou(matrix, class_names, members) for name, members in categories.items()}
        metrics["category_mIoU"] = _mean(np.array(list(values.values())))
        metrics["category_IoU"] = values
    if objects is not None:
        by_class, by_category = instance_ious(matrix, objects, class_names)
        metrics |= {"miIoU": _mean(np.array([*by_class.values()])), "iIoU": by_class}
        if by_category:
            metrics |= {"category_miIoU": _mean(np.array([*by_category.values()])), "category_iIoU": by_category}
    return metrics


def _category_iou(matrix: np.ndarray, class_names: Sequence[str], members: Sequence[str]) -> float:
    if unknown := [name for name in members if name not in class_names]:
        raise UserError(f"categories name the class {unknown[0]!r}, which is not among {', '.join(class_names)}")
    rows = [list(class_names).index(name) for name in members]
    truth, predicted = matrix[rows].sum(), matrix[:, rows].sum()
    hits = matrix[np.ix_(rows, rows)].sum()
    return float(ratio(hits, truth + predicted - hits))


def ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else float("nan")


def _iou(right: float, false: float, missed: float) -> float:
    return float(ratio(right, right + false + missed))
