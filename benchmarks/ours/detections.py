"""From logits to boxes, and from boxes to AP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.loop import Work
from effdet.evaluation import coco_metrics
from heads.detection import AnchorSpec, PostProcess
from heads.detection.anchors import anchors
from heads.detection.postprocess import postprocess as find


def postprocess(logits: str, size: int, classes: int) -> Work:
    """Score .001 or more, the best 5,000, every class of an anchor, 100 boxes; one image after the other."""
    passed = np.load(logits)
    aspects = tuple((float(x), float(y)) for x, y in passed["aspects"])
    sides = [-(-size // 2**level) for level in range(3, 8)]
    spec = AnchorSpec(scale=float(passed["scale"]), scales_per_octave=3, aspects=aspects)
    grid = anchors([(side, side) for side in sides], (size, size), spec, torch.device("cpu"))
    images = [torch.from_numpy(row[None]) for row in passed["logits"]]
    deltas = [torch.from_numpy(row[None]) for row in passed["deltas"]]
    settings = PostProcess()

    @torch.no_grad()
    def run() -> list[Any]:
        return [find(row, boxes, grid, settings) for row, boxes in zip(images, deltas, strict=True)]

    def answer() -> dict[str, np.ndarray]:
        rows = np.zeros((len(images), settings.max_detections, 6), np.float32)
        for index, found in enumerate(run()):
            boxes, scores, labels = found.image(0)
            rows[index, : len(labels)] = np.column_stack([boxes, scores, labels + 1])
        return {"detections": rows}

    return Work(run, answer)


def evaluation(truth: str, results: str, backend: str) -> Work:
    annotations, found = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (truth, results))
    numbers: list[dict[str, Any]] = []

    def run() -> None:
        numbers.append(coco_metrics(annotations, found, backend=backend))

    def answer() -> dict[str, np.ndarray]:
        return {key: np.array(value) for key, value in numbers[0].items() if isinstance(value, float)}

    return Work(run, answer)
