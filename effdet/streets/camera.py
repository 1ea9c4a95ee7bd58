"""The camera of a street scene: a pinhole above a flat ground.

Frames. World: metres, x to the right, y up, z forward, the camera above the origin. Image: u to the right of the
middle column and v down from the top row, both in image *heights*, so that a scene is the same at every size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 0.8
"""Metres: nothing nearer than this is projected."""
_FAR_OFF = 12.0
"""Image heights: coordinates are clipped to this, to keep the rasteriser's integers small."""


@dataclass(frozen=True)
class Camera:
    focal: float
    """Focal length in image heights (1.0 sees 53 degrees from top to bottom)."""
    horizon: float
    """Row of the horizon, in image heights from the top."""
    height: float
    """Height above the ground in metres."""

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) world -> (..., 2) image."""
        depth = np.maximum(points[..., 2], NEAR)
        scale = self.focal / depth
        out = np.empty((*points.shape[:-1], 2))
        out[..., 0] = points[..., 0] * scale
        out[..., 1] = self.horizon + (self.height - points[..., 1]) * scale
        return np.clip(out, -_FAR_OFF, _FAR_OFF, out=out)

    def size(self, metres: float, depth: float) -> float:
        """What a length at a depth measures in the image, in image heights."""
        return metres * self.focal / max(depth, NEAR)

    def ground_depth(self, rows: np.ndarray) -> np.ndarray:
        """Depth in metres of the ground seen in each row (image heights); infinite at and above the horizon."""
        below = np.asarray(rows) - self.horizon
        return np.where(below > 1e-4, self.focal * self.height / np.maximum(below, 1e-4), np.inf)

    @property
    def nearest_ground(self) -> float:
        """Depth in metres of the ground at the bottom row."""
        return self.focal * self.height / (1.0 - self.horizon)
