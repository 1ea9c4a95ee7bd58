"""The kinds of metrics as functions of how often each image counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from effdet.evaluation.segmentation import ratio
from effdet.report.statistics.boxes import Matches
from effdet.report.statistics.precision import average_precision

RECORDED: dict[str, type] = {}
"""Statistics that ``statistics.npz`` can hold, by the names that they have there."""

S = TypeVar("S", bound=type)


def recorded(name: str) -> Callable[[S], S]:
    """Enters a dataclass of arrays and plain values into :data:`RECORDED`."""

    def enter(cls: S) -> S:
        RECORDED[name] = cls
        return cls

    return enter


@recorded("boxes")
@dataclass(frozen=True, eq=False)
class BoxStatistic:
    """``AP AP50 AP75`` and ``AP CLASS`` for each class."""

    matches: Matches

    @property
    def images(self) -> int:
        return self.matches.images

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """See :class:`~effdet.report.statistics.bootstrap.Statistic`."""
        cells = average_precision(self.matches, weights)  # (S, 10, K)
        found = {"AP": _mean(cells), "AP50": _mean(cells[:, :1]), "AP75": _mean(cells[:, 5:6])}
        for label, name in enumerate(self.matches.names):
            found[f"AP {name}"] = cells[:, :, label].mean(1)
        return found


@recorded("maps")
@dataclass(frozen=True, eq=False)
class MapStatistic:
    """``mIoU``, ``pixel_accuracy`` and ``IoU CLASS``, from one confusion matrix an image."""

    names: tuple[str, ...]
    """(K,) class names."""
    hits: np.ndarray
    """(P, K) int64 pixels that are right."""
    true: np.ndarray
    """(P, K) int64 pixels of truth."""
    found: np.ndarray
    """(P, K) int64 pixels predicted, those of ignored truth left out."""

    @classmethod
    def of(cls, confusions: Sequence[np.ndarray], names: Sequence[str]) -> MapStatistic:
        """From (K, K) or (K, K + 1) matrices, rows = truth, one an image."""
        classes = len(names)
        stacked = np.array(confusions, np.int64).reshape(len(confusions), classes, -1)
        hits = np.diagonal(stacked[:, :, :classes], axis1=1, axis2=2)
        return cls(tuple(names), hits, stacked.sum(2), stacked[:, :, :classes].sum(1))

    @property
    def images(self) -> int:
        return len(self.hits)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """See :class:`~effdet.report.statistics.bootstrap.Statistic`."""
        # float64 holds counts of pixels exactly, and its product is BLAS's
        hits, true, found = (weights.astype(np.float64) @ part for part in (self.hits, self.true, self.found))  # (S, K)
        iou = ratio(hits, true + found - hits)
        result = {"mIoU": _mean(iou), "pixel_accuracy": ratio(hits.sum(1), true.sum(1))}
        return result | {f"IoU {name}": iou[:, label] for label, name in enumerate(self.names)}

    def image_scores(self) -> np.ndarray:
        """(P,) mIoU of each image by itself, NaN where all of it is ignored."""
        return _mean(ratio(self.hits, self.true + self.found - self.hits))


@recorded("classes")
@dataclass(frozen=True, eq=False)
class ClassStatistic:
    """``top1``, ``top5``, from the place of each image's true class."""

    places: np.ndarray
    """(P,) int64 from :func:`effdet.evaluation.classification.ranks`, 0 = first."""
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(P,) int64 true classes, kept for the record."""

    @property
    def images(self) -> int:
        return len(self.places)

    def __call__(self, weights: np.ndarray) -> Mapping[str, np.ndarray]:
        """See :class:`~effdet.report.statistics.bootstrap.Statistic`."""
        total = weights.sum(1)
        return {f"top{count}": ratio(weights @ (self.places < count).astype(np.int64), total) for count in (1, 5)}


@recorded("means")
@dataclass(frozen=True, eq=False)
class MeanStatistic:
    """Metrics that are means over images, such as those of a head of the user's own."""

    names: tuple[str, ...]
    """(M,) of the metrics."""
    values: np.ndarray
    """(P, M) float64, NaN where an image has nothing to measure a metric on."""

    @property
    def images(self) -> int:
        return len(self.values)

    def __call__(self, weights: np.ndarray) -> Mapping[str, np.ndarray]:
        """See :class:`~effdet.report.statistics.bootstrap.Statistic`."""
        known = ~np.isnan(self.values)
        total, count = weights @ np.where(known, self.values, 0.0), weights @ known.astype(np.int64)
        return dict(zip(self.names, ratio(total, count).T, strict=True))


def _mean(cells: np.ndarray) -> np.ndarray:
    """(S, …) -> (S,) mean over what is not NaN, NaN where all is."""
    flat = cells.reshape(len(cells), -1)
    measured = ~np.isnan(flat)
    return ratio(np.where(measured, flat, 0.0).sum(1), measured.sum(1).astype(np.float64))
