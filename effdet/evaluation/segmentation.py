"""Semantic segmentation metrics from one confusion matrix over the whole set.

Cityscapes' rules (cordts2016; the official evaluator): IoU = TP / (TP + FP + FN) from a confusion matrix summed over all
images, pixels whose truth is ignored left out of everything; a class that occurs neither in truth nor in prediction has
no IoU (NaN) and stays out of the mean. A category's IoU merges its classes first, so that a car taken for a truck is right
in "vehicle".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from effdet.evaluation.instance_iou import instance_ious
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


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by (truth, prediction) of one image.

    Args:
        truth: (H, W) integers in 0…classes-1, or `IGNORE`.
        predicted: (H, W) integers of the same size; a value past the last class means "none of these".
        classes: number K of classes.

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
        objects: (K, 4) sums of :class:`effdet.evaluation.instance_iou.ObjectCounter`, or None without object maps.

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
    iou = _ratio(hits, truth + predicted - hits)
    metrics: dict[str, Any] = {
        "mIoU": _mean(iou),
        "pixel_accuracy": float(_ratio(hits.sum(), truth.sum())),
        "mean_accuracy": _mean(_ratio(hits, truth)),
        "IoU": {name: float(value) for name, value in zip(class_names, iou, strict=True)},
        "pixels": {name: int(value) for name, value in zip(class_names, truth, strict=True)},
        "confusion": counts.tolist(),
    }
    groups = categories if categories is not None else _cityscapes(class_names)
    if groups:
        values = {
            name: _category_iou(matrix, [_index(class_names, member) for member in members])
            for name, members in groups.items()
        }
        metrics["category_mIoU"] = _mean(np.array(list(values.values())))
        metrics["category_IoU"] = values
    if objects is not None:
        by_class, by_category = instance_ious(matrix, objects, class_names)
        metrics |= {"miIoU": _mean(np.array([*by_class.values()])), "iIoU": by_class}
        if by_category:
            metrics |= {"category_miIoU": _mean(np.array([*by_category.values()])), "category_iIoU": by_category}
    return metrics


def _category_iou(matrix: np.ndarray, members: list[int]) -> float:
    truth, predicted = matrix[members].sum(), matrix[:, members].sum()
    hits = matrix[np.ix_(members, members)].sum()
    return float(_ratio(hits, truth + predicted - hits))


def _cityscapes(class_names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    known = {name for members in CITYSCAPES_CATEGORIES.values() for name in members}
    return CITYSCAPES_CATEGORIES if known == set(class_names) else {}


def _index(class_names: Sequence[str], name: str) -> int:
    if name not in class_names:
        raise UserError(f"categories name the class {name!r}, which is not among {', '.join(class_names)}")
    return list(class_names).index(name)


def _ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else float("nan")
