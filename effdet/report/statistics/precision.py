"""Average precision from matches, for any number of weighted samples of the images at once.

COCO's AP is the mean, over 101 recalls, of the best precision at that recall or above. Only a right detection raises the
recall, and precision is best at one. So precision is needed at the right detections alone, and each counts as many of the
101 recalls as it passes: the same number as pycocotools' arrays, for a thousand samples in the time of a few.
"""

from __future__ import annotations

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
