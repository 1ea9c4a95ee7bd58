"""Cityscapes' iIoU: the IoU in which every object counts as much as an average one of its class.

Per-pixel IoU is a matter of the large, near objects. iIoU (cordts2016, section 4.2) therefore weighs the true pixels of each
object by (average size of its class) / (its own size): iIoU = iTP / (iTP + FP + iFN). False positives belong to no object and
stay unweighted. Groups of objects count nowhere in iTP and iFN, as in the official evaluator. A category's iIoU takes any
class of the category for right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
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
        groups = {name: row for row, members in enumerate(CATEGORIES.values()) for name in members}
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
    for name, members in CATEGORIES.items():
        rows = [index[member] for member in members if member in index]
        if len(rows) == len(members):
            false = confusion[:, rows].sum() - confusion[np.ix_(rows, rows)].sum()
            categories[name] = _iou(objects[rows, 2].sum(), false, objects[rows, 3].sum())
    order = {name: classes[name] for name in class_names if name in classes}
    return order, categories


def _iou(right: float, false: float, missed: float) -> float:
    whole = right + false + missed
    return float(right / whole) if whole > 0 else float("nan")
