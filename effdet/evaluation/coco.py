"""COCO's box metrics: the 12 numbers and the per-class table.

The protocol is that of pycocotools (the reference backend): IoU .50:.05:.95, 101 recall points, at most 100 detections per
image *and class*, truth areas split at 32² and 96² pixels by the annotation's `area`. Every image of the annotations
counts, whether it has detections or not.

Decisions where the protocol leaves room:

- no predictions at all gives 0 wherever there is truth (pycocotools' own `loadRes` stops there);
- a number without any truth to measure it on (no small boxes, say) is -1, as in pycocotools;
- a missing `area` is width times height; annotation ids are renumbered, so that id 0 is a box like any other;
- predictions of an image that the annotations lack are an error, not finite or negative boxes too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from effdet.evaluation.backends import Pairs, accumulate
from effdet.evaluation.coco_format import CocoInputs, Json, coco_inputs

COCO_KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The 12 numbers in pycocotools' order of printing."""

# Axes of the arrays: IoU .50 and .75; areas all, small, medium, large; caps 1, 10, 100 and a wider one.
_IOU50, _IOU75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_CAP1, _CAP10, _CAP100, _WIDEST = range(4)
REFERENCE = "pycocotools"


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
    return measure(coco_inputs(annotations, predictions), backend=backend)[0]


def measure(
    data: CocoInputs, *, backend: str = "pycocotools", cap: int | None = None
) -> tuple[dict[str, Any], Pairs | None]:
    """:func:`coco_metrics` of the checked form, and who was matched with whom where the backend says so.

    Args:
        cap: also give ``AP@cap``, COCO's AP with so many detections of a class in an image (more than 100) in place of 100,
            by the reference.
    """
    if not data.categories or not data.images:
        more = {} if cap is None else {f"AP@{cap}": -1.0}
        return dict.fromkeys(COCO_KEYS, -1.0) | {"per_class": _per_class(data, None, None)} | more, None
    # One pass gives all caps: what is matched up to one of them doesn't depend on those behind.
    caps = None if cap is None else (1, 10, 100, cap)
    found = accumulate(data, backend=backend, caps=caps if backend == REFERENCE else None)
    metrics = summary(found.precision, found.recall) | {"per_class": _per_class(data, found.precision, found.recall)}
    if cap is not None:
        wide = found if backend == REFERENCE else accumulate(data, caps=caps)
        metrics[f"AP@{cap}"] = _mean(wide.precision[..., _ALL, _WIDEST])
    return metrics, found.pairs


def most_of_a_class(annotations: Mapping[str, Any]) -> int:
    """Objects (no crowds) of one class in one image, where there are most."""
    counts = Counter(
        (row["image_id"], row["category_id"]) for row in annotations["annotations"] if not row.get("iscrowd", 0)
    )
    return max(counts.values(), default=0)


def summary(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """The 12 numbers from a backend's arrays (shapes: `backends.Counted`)."""
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


def _per_class(data: CocoInputs, precision: np.ndarray | None, recall: np.ndarray | None) -> dict[str, dict[str, Any]]:
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
