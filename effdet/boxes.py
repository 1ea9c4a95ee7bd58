"""Intersection over union of NumPy boxes; :mod:`heads.detection.boxes` has that of tensors.

Boxes are (..., 4) xyxy in pixels of any one frame. All functions broadcast: give ``first[:, None]`` and ``second`` for the
IoU of every pair.
"""

from __future__ import annotations

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...); 0 for a box that ends before it begins."""
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)


def shared_area(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Area of the intersection, in the precision of the inputs."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    return np.clip(high - low, 0, None).prod(-1)


def over_union(shared: np.ndarray, first_area: np.ndarray, second_area: np.ndarray) -> np.ndarray:
    """IoU from the areas of the intersection and of the two boxes; 0 where both are empty."""
    return shared / np.maximum(first_area + second_area - shared, 1e-12)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU in float64; 0 where both are empty."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return over_union(shared_area(first, second), area(first), area(second))
