"""Detections and true boxes of a split as arrays, and who was matched with whom under COCO's rules.

An image's matches depend only on that image. So they are counted once and reused: by curves, error breakdown,
confusion matrix and a thousand bootstrap samples, for which pycocotools would have to match everything anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from effdet.evaluation.coco import Pairs
from effdet.evaluation.coco_format import CocoInputs, Json, coco_inputs

IOUS = np.linspace(0.5, 0.95, 10)
"""COCO's IoU thresholds, the floats of pycocotools."""
CAP = 100
"""Detections of an image and class that count."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Columns:
    """N detections and M true boxes of K classes."""

    names: tuple[str, ...]
    """(K,) of the classes."""
    image: np.ndarray
    """(N,) int64 index of the image, rising; within an image by falling score."""
    label: np.ndarray
    """(N,) int64 in 0…K-1."""
    score: np.ndarray
    """(N,) float64."""
    true_image: np.ndarray
    """(M,) int64, rising."""
    true_label: np.ndarray
    """(M,) int64."""
    crowd: np.ndarray
    """(M,) bool: a detection on it counts neither as right nor as wrong."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxSet(Columns):
    """With their boxes, xywh in original pixels, of P images."""

    image_ids: tuple[Any, ...]
    """(P,) the set's own ids, in sorted order."""
    box: np.ndarray
    """(N, 4) float64."""
    true_box: np.ndarray
    """(M, 4) float64."""
    row: np.ndarray
    """(N,) int64 index of each detection into the results that it came from."""
    true_row: np.ndarray
    """(M,) int64 index of each true box into the annotations that it came from."""

    @classmethod
    def of(cls, annotations: Json, predictions: Json) -> BoxSet:
        """From COCO ground truth and results, paths or loaded; see :func:`effdet.evaluation.coco_metrics`."""
        return cls.of_coco_inputs(coco_inputs(annotations, predictions))

    @classmethod
    def of_coco_inputs(cls, data: CocoInputs) -> BoxSet:
        """From the checked form; of an image's detections of a class the best `CAP` stay."""
        image, label, box = _columns(data.results)
        score = np.array([row["score"] for row in data.results], np.float64)
        order = np.lexsort((-score, image))  # stable: ties stay in the order of the results, as in pycocotools
        image, label, box, score = image[order], label[order], box[order], score[order]
        keep = _rank(image, label) < CAP
        kept = order[keep]
        true_image, true_label, true_box = _columns(data.truth)
        crowd = np.array([row["iscrowd"] for row in data.truth], bool)
        order = np.argsort(true_image, kind="stable")
        return cls(
            image_ids=tuple(data.image_ids),
            names=tuple(data.names),
            image=image[keep],
            label=label[keep],
            score=score[keep],
            box=box[keep],
            true_image=true_image[order],
            true_label=true_label[order],
            true_box=true_box[order],
            crowd=crowd[order],
            row=kept,
            true_row=order,
        )

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """``(image, detections (D,), truths (G,), IoU (D, G))`` of each image that has a box of either kind.

        The two index the columns. IoU with a crowd is the share of the detection that lies in it, as in COCO.
        """
        from pycocotools import mask

        images = len(self.image_ids)
        starts, true_starts = (
            np.searchsorted(column, np.arange(images + 1)) for column in (self.image, self.true_image)
        )
        for index in range(images):
            found = np.arange(starts[index], starts[index + 1])
            true = np.arange(true_starts[index], true_starts[index + 1])
            if not (found.size or true.size):
                continue
            iou = np.zeros((found.size, true.size))
            if found.size and true.size:
                iou = np.asarray(mask.iou(self.box[found], self.true_box[true], self.crowd[true].astype(np.uint8)))
            yield index, found, true, iou


@dataclass(frozen=True, eq=False, kw_only=True)
class Matches(Columns):
    """What COCO's matching says of each detection and each true box of a `BoxSet`."""

    images: int
    hit: np.ndarray
    """(10, N) bool by IoU threshold: matched with a true box of its class."""
    ignored: np.ndarray
    """(10, N) bool: lies on a crowd of its class; counts nowhere."""
    truth: np.ndarray
    """(N,) int64: the true box matched at IoU .5, -1 for none."""

    @property
    def counted(self) -> np.ndarray:
        """(N,) bool: detections that are right or wrong at IoU .5."""
        return ~self.ignored[0]


def match(boxes: BoxSet) -> Matches:
    """Match as pycocotools does (`evaluateImg`), over all areas.

    In each image and class, detections by falling score each take the free true box of highest IoU, if that reaches the
    threshold; of equal ones the last. What finds none and lies on a crowd is ignored.
    """
    count = len(boxes.score)
    hit, ignored = np.zeros((len(IOUS), count), bool), np.zeros((len(IOUS), count), bool)
    truth = np.full(count, -1)
    limits = np.minimum(IOUS, 1 - 1e-10)[:, None]  # (10, 1); pycocotools' own guard at IoU 1
    for _, found, true, iou in boxes:
        if not (found.size and true.size):
            continue
        iou = np.where(boxes.label[found][:, None] == boxes.true_label[true][None], iou, 0.0)
        crowd = boxes.crowd[true]
        own, true = iou[:, ~crowd], true[~crowd]
        free = np.ones((len(IOUS), own.shape[1]), bool)
        for row in np.flatnonzero((own >= limits[0]).any(1)):
            fits = free & (own[row] >= limits)  # (10, G)
            reached = np.flatnonzero(fits.any(1))
            best = own.shape[1] - 1 - np.where(fits, own[row], -1.0)[reached, ::-1].argmax(1)
            hit[reached, found[row]] = True
            free[reached, best] = False
            truth[found[row]] = true[best[0]] if reached.size and reached[0] == 0 else -1
        if crowd.any():
            ignored[:, found] = ~hit[:, found] & (iou[:, crowd].max(1) >= limits)
    return _matches(boxes, hit, ignored, truth)


def matches_of(boxes: BoxSet, pairs: Pairs) -> Matches:
    """The same matches as :func:`match` from those that an evaluation has found for the results of `boxes`."""
    column = np.full(max(boxes.row.max(initial=-1), pairs.result.max(initial=-1)) + 1, -1)
    column[boxes.row] = np.arange(len(boxes.row))
    place = column[pairs.result]
    known = place >= 0  # not of those past the cap
    count = len(boxes.score)
    hit, ignored, truth = np.zeros((len(IOUS), count), bool), np.zeros((len(IOUS), count), bool), np.full(count, -1)
    hit[:, place[known]] = ((pairs.truth >= 0) & ~pairs.ignored)[:, known]
    ignored[:, place[known]] = pairs.ignored[:, known]
    true_column = np.empty(len(boxes.true_row), np.int64)
    true_column[boxes.true_row] = np.arange(len(boxes.true_row))
    right = hit[0, place[known]]
    truth[place[known][right]] = true_column[pairs.truth[0, known][right]]
    return _matches(boxes, hit, ignored, truth)


def _matches(boxes: BoxSet, hit: np.ndarray, ignored: np.ndarray, truth: np.ndarray) -> Matches:
    columns = {column.name: getattr(boxes, column.name) for column in fields(Columns)}
    return Matches(images=len(boxes.image_ids), hit=hit, ignored=ignored, truth=truth, **columns)


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


def detection_confusion(boxes: BoxSet, matches: Matches, *, score: float) -> np.ndarray:
    """True boxes by the class that they were detected as.

    Detections of at least `score` count. Those that COCO matched with a true box of their class stand on the diagonal; of
    what is left, detections and true boxes of any class are paired one to one by falling IoU down to .5. Detections on a
    crowd are left out.

    Args:
        score: threshold of the detections.

    Returns:
        (K + 1, K + 1) int64: rows = truth, columns = prediction; the last row counts detections on background, the last
        column true boxes that were missed.
    """
    classes = len(boxes.names)
    confusion = np.zeros((classes + 1, classes + 1), np.int64)
    shown = matches.counted & (boxes.score >= score)
    right = np.flatnonzero(shown & (matches.truth >= 0))
    np.add.at(confusion, (boxes.label[right], boxes.label[right]), 1)
    waiting = ~boxes.crowd
    waiting[matches.truth[right]] = False
    wrong = shown & (matches.truth < 0)
    for _, found, true, overlap in boxes:
        left, missed = wrong[found], waiting[true]
        if left.any() and missed.any():
            pairs = _pairs(overlap[np.ix_(left, missed)], IOUS[0])
            rows, columns = found[left][pairs[:, 0]], true[missed][pairs[:, 1]]
            np.add.at(confusion, (boxes.true_label[columns], boxes.label[rows]), 1)
            wrong[rows], waiting[columns] = False, False
    np.add.at(confusion[-1], boxes.label[wrong], 1)
    np.add.at(confusion[:, -1], boxes.true_label[waiting], 1)
    return confusion


def _pairs(overlap: np.ndarray, least: float) -> np.ndarray:
    """(n, 2) rows and columns, each used once, by falling overlap of at least `least`."""
    rows, columns = np.nonzero(overlap >= least)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    free_rows, free_columns = np.ones(overlap.shape[0], bool), np.ones(overlap.shape[1], bool)
    taken = []
    for row, column in zip(rows[order], columns[order], strict=True):
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            taken.append((row, column))
    return np.array(taken, np.int64).reshape(-1, 2)


def _columns(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and class from 0, box."""
    image = np.array([row["image_id"] for row in rows], np.int64) - 1
    label = np.array([row["category_id"] for row in rows], np.int64) - 1
    return image, label, np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)


def _rank(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(N,) how many detections of the same image and class stand before each."""
    order = np.lexsort((label, image))
    group = image[order] * (label.max(initial=0) + 1) + label[order]
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if group.size else np.zeros(0, np.int64)
    sizes = np.diff(np.append(first, group.size))
    rank = np.empty(group.size, np.int64)
    rank[order] = np.arange(group.size) - np.repeat(first, sizes)
    return rank
