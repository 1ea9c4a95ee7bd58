"""Which class is taken for which: the confusion matrix of boxes."""

from __future__ import annotations

import numpy as np

from effdet.report.statistics.boxes import BoxSet, Matches


def detection_confusion(boxes: BoxSet, matches: Matches, *, score: float, iou: float = 0.5) -> np.ndarray:
    """True boxes by the class that they were detected as.

    Detections of at least `score` count. Those that COCO matched with a true box of their class stand on the diagonal; of
    what is left, detections and true boxes of any class are paired one to one by falling IoU down to `iou`. Detections on a
    crowd are left out.

    Args:
        boxes: the boxes that were matched.
        matches: of `boxes`.
        score: threshold of the detections.
        iou: least overlap of a pair of two classes.

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
            pairs = _pairs(overlap[np.ix_(left, missed)], iou)
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
