"""Precision, recall and F1 against the score threshold, at IoU .5: which threshold to predict with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.report.statistics.boxes import Matches

THRESHOLDS = np.linspace(0.0, 1.0, 201)
"""Where curves over several classes are sampled."""


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """One class: what each of its detections' scores would give as a threshold (detections at or above it stay)."""

    name: str
    boxes: int
    """True boxes."""
    score: np.ndarray
    """(n,) float64, falling, without repetition."""
    precision: np.ndarray
    """(n,) float64."""
    recall: np.ndarray
    """(n,) float64, rising; NaN without true boxes."""

    @property
    def f1(self) -> np.ndarray:
        """(n,) harmonic mean of precision and recall, 0 where both are 0."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)

    @property
    def best(self) -> int | None:
        """Position of the highest F1; of equal ones the highest threshold. None without true boxes or detections."""
        return int(self.f1.argmax()) if self.boxes and self.score.size else None

    def at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and F1 at any thresholds; where no detection is left precision is NaN, recall and F1 are 0."""
        place = np.searchsorted(-self.score, -thresholds, side="right") - 1  # the last score at or above each
        there = place >= 0
        if not self.score.size:
            return np.full(len(thresholds), np.nan), np.zeros(len(thresholds)), np.zeros(len(thresholds))
        place = np.maximum(place, 0)
        return (
            np.where(there, self.precision[place], np.nan),
            np.where(there, self.recall[place], 0.0),
            np.where(there, self.f1[place], 0.0),
        )


def class_curves(matches: Matches) -> list[ClassCurve]:
    """The curve of each class, in the order of `matches.names`."""
    order = np.flatnonzero(matches.counted)
    order = order[np.argsort(-matches.score[order], kind="stable")]
    curves = []
    for label, name in enumerate(matches.names):
        rows = order[matches.label[order] == label]
        boxes = int(((matches.true_label == label) & ~matches.crowd).sum())
        right, found = np.cumsum(matches.hit[0, rows]), np.arange(1, rows.size + 1)
        score = matches.score[rows]
        last = np.append(score[1:] != score[:-1], True)[: rows.size]  # a threshold keeps all detections of its score
        recall = right / boxes if boxes else np.full(rows.size, np.nan)
        curves.append(ClassCurve(name, boxes, score[last], (right / found)[last], recall[last]))
    return curves


def mean_f1(curves: list[ClassCurve]) -> np.ndarray:
    """(201,) F1 at `THRESHOLDS`, averaged over the classes with true boxes; zeros where there are none."""
    measured = [curve.at(THRESHOLDS)[2] for curve in curves if curve.boxes]
    return np.mean(measured, axis=0) if measured else np.zeros(len(THRESHOLDS))


def best_threshold(curves: list[ClassCurve]) -> float:
    """The one threshold for all classes with the highest mean F1; of equal ones the lowest. .5 where nothing is right."""
    values = mean_f1(curves)
    return float(THRESHOLDS[values.argmax()]) if values.max() > 0 else 0.5
