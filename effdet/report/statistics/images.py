"""How well each image was done, by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.report.statistics.boxes import Matches


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Counts at one score threshold and IoU .5."""

    right: np.ndarray
    """(P,) int64 detections that are right."""
    wrong: np.ndarray
    """(P,) int64 detections that are wrong."""
    missed: np.ndarray
    """(P,) int64 true boxes that were not found."""

    @property
    def f1(self) -> np.ndarray:
        """(P,) 2 right / (2 right + wrong + missed), NaN for an image with nothing on it of which nothing was found."""
        total = 2 * self.right + self.wrong + self.missed
        return np.divide(2 * self.right, total, out=np.full(len(total), np.nan), where=total > 0)

    def worst(self, count: int) -> list[int]:
        """Images of lowest F1; of equal ones those with more mistakes. None that is without a mistake."""
        order = np.lexsort((-(self.wrong + self.missed), self.f1))  # NaN sorts last
        return [int(index) for index in order if self.f1[index] < 1][:count]

    def best(self, count: int) -> list[int]:
        """Images of highest F1; of equal ones those with more right. None on which nothing is right."""
        order = np.lexsort((-self.right, -self.f1))
        return [int(index) for index in order if self.right[index]][:count]


def image_scores(matches: Matches, *, score: float) -> ImageScores:
    """Counts of each image, of the detections of at least `score`."""
    shown = matches.counted & (matches.score >= score)
    true = np.bincount(matches.true_image[~matches.crowd], minlength=matches.images)
    right = np.bincount(matches.image[shown & matches.hit[0]], minlength=matches.images)
    wrong = np.bincount(matches.image[shown & ~matches.hit[0]], minlength=matches.images)
    return ImageScores(right, wrong, true - right)
