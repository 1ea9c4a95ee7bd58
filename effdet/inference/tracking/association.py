"""Which detection continues which track: the assignment of least total cost."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

FORBIDDEN = 1e4
"""Cost of a pair that must not be: far above any sum of real costs, and still finite, as the solver wants it."""


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
