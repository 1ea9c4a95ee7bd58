"""Which detection continues which track: the assignment of least total cost."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

FORBIDDEN = 1e4
"""Cost of a pair that must not be: far above any sum of real costs, and still finite, as the solver wants it."""


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 4), (M, 4) xyxy of one frame -> (N, M) intersection over union; 0 where both are empty."""
    first, second = np.asarray(first, np.float64).reshape(-1, 4), np.asarray(second, np.float64).reshape(-1, 4)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)  # (N, M)
    union = _area(first)[:, None] + _area(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def assign(costs: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of least total cost, none of which costs more than `limit`.

    Args:
        costs: (N, M) float; rows are tracks, columns detections.
        limit: largest cost of a pair.

    Returns:
        (P, 2) int64 pairs (row, column) by rising row; rows without a pair; columns without a pair.
    """
    costs = np.asarray(costs, np.float64)
    allowed = np.where(costs <= limit, costs, FORBIDDEN)
    rows, columns = linear_sum_assignment(allowed)
    kept = allowed[rows, columns] < FORBIDDEN
    pairs = np.stack([rows[kept], columns[kept]], axis=1).astype(np.int64)
    return (
        pairs,
        np.setdiff1d(np.arange(costs.shape[0]), pairs[:, 0]),
        np.setdiff1d(np.arange(costs.shape[1]), pairs[:, 1]),
    )


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
