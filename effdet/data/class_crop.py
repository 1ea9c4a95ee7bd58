"""Class-balanced crops: where to look in an image, so that rare classes are seen more often than they are wide."""

from __future__ import annotations

import numpy as np

from effdet.data.records import Dataset
from heads.structures import UserError


class ClassCrop:
    """Draws a pixel of an image's mask: first a class, the rarer in the set the likelier, then one of its pixels.

    A class with the share f of the set's labelled pixels has the weight 1 / √f among the classes of an image. (With 1 / f
    the rarest class of an image would take nearly all crops, and the common ones would never lie in their middle.)
    """

    def __init__(self, source: Dataset) -> None:
        pixels = source.records.class_pixels
        if pixels is None:
            raise UserError(
                f"augment.class_crop crops around pixels of rare classes, and data={source.name} has no masks: set it to 0"
            )
        self.source = source
        self.present = pixels > 0
        """(P, K) bool."""
        shares = pixels.sum(0) / max(1, int(pixels.sum()))
        self.weights = 1 / np.sqrt(np.maximum(shares, 1e-12))
        """(K,) float64."""

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[float, float] | None:
        """(y, x) of the drawn pixel's centre, original pixels; None for an image without a mask."""
        weights = np.where(self.present[index], self.weights, 0)
        if not weights.any():
            return None
        chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
        mask = self.source.read_mask(self.source.records[index])
        assert mask is not None, "an image with class pixels has a mask"
        pixels = np.flatnonzero(mask == chosen)
        if len(pixels) == 0:
            return None  # the file has changed since it was checked
        row, column = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
        return row + 0.5, column + 0.5
