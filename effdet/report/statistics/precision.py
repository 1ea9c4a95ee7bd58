"""Average precision from matches, for any number of weighted samples of the images at once.

COCO's AP is the mean, over 101 recalls, of the best precision at that recall or above. Only a right detection raises the
recall, and precision is best at one. So precision is needed only at the right detections, and each counts as many of the
101 recalls as it passes: the same number as pycocotools' arrays, for a thousand samples in the time of a few.

Precision, recall and F1 against the score threshold, at IoU .5, say which threshold to predict with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.report.statistics.boxes import IOUS, Matches

RECALLS = np.linspace(0.0, 1.0, 101)
_CELLS = 20_000_000
"""Numbers of one intermediate array; samples are taken in portions under it."""


def average_precision(matches: Matches, weights: np.ndarray | None = None) -> np.ndarray:
    """AP of each sample, IoU and class.

    Args:
        matches: from :func:`effdet.report.statistics.boxes.match`.
        weights: (S, P) integers, how often each sample holds each image; None is one sample, each image once.

    Returns:
        (S, 10, K) float64; NaN for a class without true boxes in the sample.
    """
    if weights is None:
        weights = np.ones((1, matches.images), np.int32)
    classes = len(matches.names)
    result = np.full((len(weights), len(IOUS), classes), np.nan)
    by_score = np.argsort(-matches.score, kind="stable")
    for label in range(classes):
        rows = by_score[matches.label[by_score] == label]
        true = matches.true_image[(matches.true_label == label) & ~matches.crowd]
        if true.size == 0:
            continue
        step = max(1, _CELLS // (rows.size + true.size))
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            result[part, :, label] = _of_class(matches, rows, true, weights[part])
    return result


def _of_class(matches: Matches, rows: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(S, 10): `rows` are the class's detections by falling score, `true` the images of its true boxes."""
    total = weights[:, true].sum(1)  # (S,)
    images, own = np.unique(matches.image[rows], return_inverse=True)
    copies = weights[:, images].astype(np.float32)  # (S, p); counts are exact up to 2^24
    result = np.zeros((len(weights), len(IOUS)))
    for index in range(len(IOUS)):
        hits = np.flatnonzero(matches.hit[index, rows])
        if hits.size:
            before = _counts_before(own, ~matches.ignored[index, rows], hits, len(images))
            right = np.cumsum(copies[:, own[hits]], axis=1)
            result[:, index] = area(right, copies @ before, total)
    result[total == 0] = np.nan
    return result


def _counts_before(image: np.ndarray, counted: np.ndarray, hits: np.ndarray, images: int) -> np.ndarray:
    """(images, hits) float32: how many of each image's detections that count stand before each hit or are it.

    Weighted by samples this is one matrix product, where summing along all detections would take a pass for each sample.
    """
    counts = np.zeros((images, len(hits) + 1), np.float32)
    np.add.at(counts, (image, np.searchsorted(hits, np.arange(len(image)))), counted.astype(np.float32))
    return np.cumsum(counts[:, :-1], axis=1)


def area(right: np.ndarray, found: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(S,) AP from the numbers of right and of all detections up to each right one, both (S, n), and of true boxes (S,).

    An image of weight 0 repeats the numbers before it: the same point of the curve again, which changes nothing.
    """
    precision = right.astype(np.float64) / np.maximum(found, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    passed = np.searchsorted(RECALLS, right / np.maximum(total, 1)[:, None], side="right")  # recall 0 is always passed
    return (np.diff(passed, axis=1, prepend=0) * best).sum(1) / len(RECALLS)


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
