"""The three libraries that count COCO matches, behind one call: the precision and recall arrays of the COCO protocol.

pycocotools is the reference and the default. faster-coco-eval (C++) and hotcoco (Rust) give the same numbers sooner and are
optional. A backend only matches and accumulates; which cells of the arrays make which number is `coco.py`'s alone.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from effdet.evaluation.coco_format import CocoInputs
from heads.structures import UserError


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
    """Of the reference alone."""


def accumulate(data: CocoInputs, *, backend: str = "pycocotools", caps: tuple[int, ...] | None = None) -> Counted:
    """Match and accumulate `data` with one of `BACKENDS`; nothing is printed.

    Args:
        data: ground truth and results.
        backend: which library counts.
        caps: detections of a class in an image, rising, in place of COCO's 1, 10 and 100; by the reference alone.
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

    tables = {"images": data.images, "categories": data.categories}
    evaluator = COCOeval(
        COCO({**tables, "annotations": data.truth}), COCO({**tables, "annotations": data.results}), "bbox"
    )
    evaluator.evaluate()
    evaluator.accumulate()
    return _arrays(evaluator.eval)


def _faster_coco_eval(data: CocoInputs) -> Counted:
    from faster_coco_eval import COCO, COCOeval_faster

    tables = {"images": data.images, "categories": data.categories}
    evaluator = COCOeval_faster(
        COCO({**tables, "annotations": data.truth}), COCO({**tables, "annotations": data.results}), "bbox"
    )
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
