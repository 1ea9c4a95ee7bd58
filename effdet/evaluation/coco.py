"""COCO's box metrics: the 12 numbers and the per-class table.

The protocol is that of pycocotools (the reference backend): IoU .50:.05:.95, 101 recall points, at most 100 detections per
picture *and class*, truth areas split at 32² and 96² pixels by the annotation's `area`. Every picture of the annotations
counts, whether it has detections or not.

Decisions where the protocol leaves room:

- no predictions at all gives 0 wherever there is truth (pycocotools' own `loadRes` stops there);
- a number without any truth to measure it on (no small boxes, say) is -1, as in pycocotools;
- a missing `area` is width times height; annotation ids are renumbered, so that id 0 is a box like any other;
- predictions of a picture that the annotations lack are an error, not finite or negative boxes too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from effdet.evaluation.backends import accumulate
from effdet.evaluation.coco_format import Evaluand, Json, evaluand

COCO_KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The 12 numbers in pycocotools' order of printing."""

# Axes of the arrays: IoU .50 and .75; areas all, small, medium, large; caps 1, 10, 100.
_IOU50, _IOU75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_CAP1, _CAP10, _CAP100 = range(3)


def coco_metrics(annotations: Json, predictions: Json, *, backend: str = "pycocotools") -> dict[str, Any]:
    """COCO box metrics of `predictions` against `annotations`.

    Args:
        annotations: path or loaded dictionary of COCO instances. Not changed.
        predictions: path or loaded list of COCO results: ``image_id``, ``category_id``, ``bbox`` (x, y, w, h in original
            pixels), ``score``; a dictionary that holds such a list under ``annotations`` will do. Not changed.
        backend: ``pycocotools`` (the reference), ``hotcoco`` or ``faster-coco-eval`` (equal, faster).

    Returns:
        The 12 numbers by the names in `COCO_KEYS`, in 0…1 or -1 where there is no truth to measure them on, and
        ``per_class``: ``{name: {"AP", "AP50", "AR100", "boxes"}}``, where ``boxes`` counts the truth without crowds.
    """
    data = evaluand(annotations, predictions)
    if not data.categories or not data.images:
        return dict.fromkeys(COCO_KEYS, -1.0) | {"per_class": _per_class(data, None, None)}
    precision, recall = accumulate(data, backend=backend)
    return summary(precision, recall) | {"per_class": _per_class(data, precision, recall)}


def capped_precision(annotations: Json, predictions: Json, *, cap: int) -> float:
    """COCO's AP with `cap` detections of a class in an image in place of 100, by the reference; -1 without truth."""
    data = evaluand(annotations, predictions)
    if not data.categories or not data.images:
        return -1.0
    precision, _ = accumulate(data, caps=(1, 10, cap))
    return _mean(precision[..., _ALL, _CAP100])


def most_of_a_class(annotations: Mapping[str, Any]) -> int:
    """Objects (no crowds) of one class in one image, where there are most."""
    counts = Counter(
        (row["image_id"], row["category_id"]) for row in annotations["annotations"] if not row.get("iscrowd", 0)
    )
    return max(counts.values(), default=0)


def summary(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """The 12 numbers from a backend's arrays (shapes: `backends.Arrays`)."""
    values = (
        precision[..., _ALL, _CAP100],
        precision[_IOU50, ..., _ALL, _CAP100],
        precision[_IOU75, ..., _ALL, _CAP100],
        precision[..., _SMALL, _CAP100],
        precision[..., _MEDIUM, _CAP100],
        precision[..., _LARGE, _CAP100],
        recall[..., _ALL, _CAP1],
        recall[..., _ALL, _CAP10],
        recall[..., _ALL, _CAP100],
        recall[..., _SMALL, _CAP100],
        recall[..., _MEDIUM, _CAP100],
        recall[..., _LARGE, _CAP100],
    )
    return {key: _mean(cells) for key, cells in zip(COCO_KEYS, values, strict=True)}


def _per_class(data: Evaluand, precision: np.ndarray | None, recall: np.ndarray | None) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for index, (name, boxes) in enumerate(zip(data.names, data.counts, strict=True)):
        if precision is None or recall is None:
            rows[name] = {"AP": -1.0, "AP50": -1.0, "AR100": -1.0, "boxes": boxes}
            continue
        rows[name] = {
            "AP": _mean(precision[:, :, index, _ALL, _CAP100]),
            "AP50": _mean(precision[_IOU50, :, index, _ALL, _CAP100]),
            "AR100": _mean(recall[:, index, _ALL, _CAP100]),
            "boxes": boxes,
        }
    return rows


def _mean(cells: np.ndarray) -> float:
    """Mean over the cells that have truth; -1 where none has."""
    measured = cells[cells > -1]
    return float(measured.mean()) if measured.size else -1.0
