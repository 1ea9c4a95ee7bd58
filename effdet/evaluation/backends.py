"""The three libraries that count COCO matches, behind one call: the precision and recall arrays of the COCO protocol.

pycocotools is the reference and the default. faster-coco-eval (C++) and hotcoco (Rust) give the same numbers sooner and are
optional. A backend only matches and accumulates; which cells of the arrays make which number is `coco.py`'s alone.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from effdet.evaluation.coco_format import Evaluand
from heads.structures import UserError

Arrays = tuple[np.ndarray, np.ndarray]
"""precision (10 IoUs, 101 recalls, K, 4 areas, 3 caps) and recall (10, K, 4, 3), float64, -1 where there is no truth."""


def accumulate(data: Evaluand, *, backend: str = "pycocotools", caps: tuple[int, int, int] | None = None) -> Arrays:
    """Match and accumulate `data` with one of `BACKENDS`; nothing is printed.

    Args:
        data: ground truth and results.
        backend: which library counts.
        caps: detections of a class in an image, in place of COCO's 1, 10 and 100; by the reference alone.
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


def _pycocotools(data: Evaluand, caps: tuple[int, int, int] | None = None) -> Arrays:
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
    return _arrays(evaluator.eval)


def _hotcoco(data: Evaluand) -> Arrays:
    from hotcoco import COCO, COCOeval

    tables = {"images": data.images, "categories": data.categories}
    evaluator = COCOeval(
        COCO({**tables, "annotations": data.truth}), COCO({**tables, "annotations": data.results}), "bbox"
    )
    evaluator.evaluate()
    evaluator.accumulate()
    return _arrays(evaluator.eval)


def _faster_coco_eval(data: Evaluand) -> Arrays:
    from faster_coco_eval import COCO, COCOeval_faster

    tables = {"images": data.images, "categories": data.categories}
    evaluator = COCOeval_faster(
        COCO({**tables, "annotations": data.truth}), COCO({**tables, "annotations": data.results}), "bbox"
    )
    evaluator.evaluate()
    evaluator.accumulate()
    return _arrays(evaluator.eval)


def _arrays(found: Any) -> Arrays:
    return np.asarray(found["precision"]), np.asarray(found["recall"])


BACKENDS: dict[str, Callable[[Evaluand], Arrays]] = {
    "pycocotools": _pycocotools,
    "hotcoco": _hotcoco,
    "faster-coco-eval": _faster_coco_eval,
}
