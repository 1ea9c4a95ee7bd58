"""COCO's box metrics: the 12 numbers and the per-class table.

The protocol is that of pycocotools (the reference backend): IoU .50:.05:.95, 101 recall points, at most 100 detections per
image *and class*, truth areas split at 32² and 96² pixels by the annotation's `area`. Every image of the annotations
counts, whether it has detections or not.

Decisions where the protocol leaves room:

- no predictions at all gives 0 wherever there is truth (pycocotools' own `loadRes` stops there);
- a number without any truth to measure it on (no small boxes, say) is -1, as in pycocotools;
- a missing `area` is width times height; annotation ids are renumbered, so that id 0 is a box like any other;
- predictions of an image that the annotations lack are an error, not finite or negative boxes too.

Three libraries count the matches, behind one call. pycocotools is the reference and the default; faster-coco-eval (C++) and
hotcoco (Rust) give the same numbers sooner and are optional. A backend only matches and accumulates; which cells of its arrays
make which number is said here.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from effdet.evaluation.coco_format import CocoInputs, Json, coco_inputs
from heads.structures import UserError

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
        cap: also give ``AP@cap``, COCO's AP with up to `cap` detections of a class in an image (more than 100) in place of 100,
            by the reference.
    """
    if not data.categories or not data.images:
        more = {} if cap is None else {f"AP@{cap}": -1.0}
        nothing = dict.fromkeys(("AP", "AP50", "AR100"), -1.0)
        rows = {name: {**nothing, "boxes": boxes} for name, boxes in zip(data.names, data.counts, strict=True)}
        return dict.fromkeys(COCO_KEYS, -1.0) | {"per_class": rows} | more, None
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
    """The 12 numbers from a backend's arrays (shapes: :class:`Counted`)."""
    values = (
        precision[..., _ALL, _CAP100],
        precision[_IOU50, ..., _ALL, _CAP100],
        precision[_IOU75, ..., _ALL, _CAP100],
        *(precision[..., area, _CAP100] for area in (_SMALL, _MEDIUM, _LARGE)),
        *(recall[..., _ALL, cap] for cap in (_CAP1, _CAP10, _CAP100)),
        *(recall[..., area, _CAP100] for area in (_SMALL, _MEDIUM, _LARGE)),
    )
    return {key: _mean(cells) for key, cells in zip(COCO_KEYS, values, strict=True)}


def _per_class(data: CocoInputs, precision: np.ndarray, recall: np.ndarray) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "AP": _mean(precision[:, :, index, _ALL, _CAP100]),
            "AP50": _mean(precision[_IOU50, :, index, _ALL, _CAP100]),
            "AR100": _mean(recall[:, index, _ALL, _CAP100]),
            "boxes": boxes,
        }
        for index, (name, boxes) in enumerate(zip(data.names, data.counts, strict=True))
    }


def _mean(cells: np.ndarray) -> float:
    """Mean over the cells that have truth; -1 where none has."""
    measured = cells[cells > -1]
    return float(measured.mean()) if measured.size else -1.0


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which true box each detection was matched with, over all areas; N detections in any order."""

    result: np.ndarray
    """(N,) int64 index into ``CocoInputs.results``."""
    truth: np.ndarray
    """(10, N) int64 index into ``CocoInputs.truth`` at each IoU threshold, -1 for none."""
    ignored: np.ndarray
    """(10, N) bool: matched with a crowd; counts nowhere."""


class Counted(NamedTuple):
    """What a backend finds."""

    precision: np.ndarray
    """(10 IoUs, 101 recalls, K, 4 areas, caps) float64, -1 where there is no truth."""
    recall: np.ndarray
    """(10, K, 4, caps) float64, -1 where there is no truth."""
    pairs: Pairs | None = None
    """Only from the reference."""


def accumulate(data: CocoInputs, *, backend: str = "pycocotools", caps: tuple[int, ...] | None = None) -> Counted:
    """Match and accumulate `data` with one of `BACKENDS`; nothing is printed.

    Args:
        caps: detections of a class in an image, rising, in place of COCO's 1, 10 and 100; only the reference has them.
    """
    if caps is not None:
        return _pycocotools(data, caps)
    if backend not in BACKENDS:
        raise UserError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    try:
        return BACKENDS[backend](data)
    except ModuleNotFoundError as error:
        raise UserError(
            f"backend={backend} needs the package {backend}: install effdet-lightning[fasteval], or use pycocotools"
        ) from error


def _pycocotools(data: CocoInputs, caps: tuple[int, ...] | None = None) -> Counted:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def indexed(annotations: list[dict]) -> COCO:
        coco = COCO()
        # `loadRes` is not used: it fails on an empty list, where the answer is zeros.
        dataset: Any = {"images": data.images, "categories": data.categories, "annotations": annotations}
        coco.dataset = dataset
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):  # its progress is printed without a switch
        evaluator = COCOeval(indexed(data.truth), indexed(data.results), "bbox")
        if caps is not None:
            evaluator.params.maxDets = list(caps)
        evaluator.evaluate()
        evaluator.accumulate()
    return _arrays(evaluator.eval)._replace(pairs=_pairs(evaluator))


def _pairs(evaluator: Any) -> Pairs:
    """Of a pycocotools evaluator, whose groups are one list over categories, areas (all of them first) and images."""
    images, areas = len(evaluator.params.imgIds), len(evaluator.params.areaRng)
    starts = range(0, len(evaluator.evalImgs), areas * images)
    groups = [group for start in starts for group in evaluator.evalImgs[start : start + images] if group is not None]
    ids = [np.asarray(group["dtIds"], np.int64) for group in groups]
    if not ids:
        return Pairs(np.zeros(0, np.int64), np.zeros((10, 0), np.int64), np.zeros((10, 0), bool))
    matched = np.concatenate([group["dtMatches"] for group in groups], axis=1).astype(np.int64)
    ignored = np.concatenate([group["dtIgnore"] for group in groups], axis=1).astype(bool)
    return Pairs(np.concatenate(ids) - 1, matched - 1, ignored)  # ids count from 1, and 0 is no match


def _hotcoco(data: CocoInputs) -> Counted:
    from hotcoco import COCO, COCOeval

    return _counted(data, COCO, COCOeval)


def _faster_coco_eval(data: CocoInputs) -> Counted:
    from faster_coco_eval import COCO, COCOeval_faster

    return _counted(data, COCO, COCOeval_faster)


def _counted(data: CocoInputs, coco: Any, evaluation: Any) -> Counted:
    """By a library's own form of pycocotools' two classes."""
    tables = {"images": data.images, "categories": data.categories}
    truth, results = (coco({**tables, "annotations": rows}) for rows in (data.truth, data.results))
    evaluator = evaluation(truth, results, "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    return _arrays(evaluator.eval)


def _arrays(found: Any) -> Counted:
    return Counted(np.asarray(found["precision"]), np.asarray(found["recall"]))


BACKENDS: dict[str, Callable[[CocoInputs], Counted]] = {
    "pycocotools": _pycocotools,
    "hotcoco": _hotcoco,
    "faster-coco-eval": _faster_coco_eval,
}
