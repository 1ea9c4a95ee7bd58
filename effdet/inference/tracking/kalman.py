"""Where a box will be in the next frame: a Kalman filter of constant velocity, for all tracks at once.

State of a box: (x, y, a, h, vx, vy, va, vh), with x, y its middle, a = width / height, h its height, pixels, and their changes
a frame. The noise grows with the box's height. The model and its constants are those of DeepSORT (Wojke et al. 2017,
"Simple Online and Realtime Tracking with a Deep Association Metric", section 2.1), which ByteTrack keeps.
"""

from __future__ import annotations

import numpy as np

_POSITION, _VELOCITY = 1 / 20, 1 / 160
"""Standard deviations as shares of the height."""


def to_state(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) xyxy -> (N, 4) x, y, a, h."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    width, height = boxes[:, 2] - boxes[:, 0], np.maximum(boxes[:, 3] - boxes[:, 1], 1e-6)
    return np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2, width / height, height], axis=1)


def to_boxes(means: np.ndarray) -> np.ndarray:
    """(N, 4 or 8) x, y, a, h, … -> (N, 4) xyxy."""
    x, y, height = means[:, 0], means[:, 1], np.maximum(means[:, 3], 0)
    width = np.maximum(means[:, 2], 0) * height
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)


def start(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States of boxes seen for the first time: means (N, 8), at rest, and covariances (N, 8, 8)."""
    state = to_state(boxes)
    means = np.concatenate([state, np.zeros_like(state)], axis=1)
    height = state[:, 3]
    deviations = _deviations(height, 2 * _POSITION, 1e-2), _deviations(height, 10 * _VELOCITY, 1e-5)
    return means, _diagonal(np.concatenate(deviations, axis=1) ** 2)


def predict(means: np.ndarray, covariances: np.ndarray, steps: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The states some time on.

    Args:
        means: (N, 8).
        covariances: (N, 8, 8).
        steps: how long, in frames of the usual length, which velocities are stated for; the noise's variance grows with it.

    Returns:
        Means and covariances.
    """
    height = means[:, 3]
    noise = np.concatenate([_deviations(height, _POSITION, 1e-2), _deviations(height, _VELOCITY, 1e-5)], axis=1) ** 2
    motion = np.eye(8) + steps * np.eye(8, k=4)
    return means @ motion.T, motion @ covariances @ motion.T + _diagonal(steps * noise)


def update(means: np.ndarray, covariances: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States corrected by the boxes (N, 4) that were found for them."""
    noise = _diagonal(_deviations(means[:, 3], _POSITION, 1e-1) ** 2)
    innovation = to_state(boxes) - means[:, :4]
    seen = covariances[:, :4, :4] + noise  # (N, 4, 4) covariance of what is observed
    gain = np.linalg.solve(seen, covariances[:, :4, :]).transpose(0, 2, 1)  # (N, 8, 4)
    means = means + (gain @ innovation[..., None])[..., 0]
    return means, covariances - gain @ seen @ gain.transpose(0, 2, 1)


def _deviations(height: np.ndarray, share: float, aspect: float) -> np.ndarray:
    """(N, 4) standard deviations of x, y, a, h."""
    scaled = share * np.maximum(height, 1.0)
    return np.stack([scaled, scaled, np.full_like(scaled, aspect), scaled], axis=1)


def _diagonal(values: np.ndarray) -> np.ndarray:
    """(N, K) -> (N, K, K)."""
    return values[:, :, None] * np.eye(values.shape[1])
