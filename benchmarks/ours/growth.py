"""The work that grows: what `benchmarks.growth` measures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.inputs import large_set
from benchmarks.ours.network import network, pixels
from benchmarks.series import Series, collect
from effdet.evaluation import coco_metrics
from effdet.model import fold
from heads.detection import DetectionHead, DetectionOptions
from heads.detection.head import DetectionOutput
from heads.protocol import Context
from heads.structures import Targets

Points = Iterator[tuple[float, Callable[[], object]]]
SIZE = 512


def all_series() -> list[Series]:
    return [
        collect("images", "COCO evaluation", "images of 100 results", evaluation()),
        collect("boxes", "matching and loss, batch of 4", "boxes an image", boxes()),
        collect("classes-loss", "matching and loss, batch of 1", "classes", classes_loss()),
        collect("classes-predict", "post-process", "classes", classes_predict()),
        collect("size", "D0: forward and post-process", "megapixels", sizes()),
    ]


def evaluation() -> Points:
    for images in (250, 500, 1000, 2000, 4000):
        with tempfile.TemporaryDirectory() as directory:
            truth, results = Path(directory, "truth.json"), Path(directory, "results.json")
            large_set(truth, results, count=images)
            annotations, found = (json.loads(path.read_text(encoding="utf-8")) for path in (truth, results))
        yield images, partial(coco_metrics, annotations, found, backend="hotcoco")


def boxes() -> Points:
    head, output = _head(90), _raw(4, 90)
    for count in (1, 50, 100, 200, 350, 500):
        yield count, partial(_backward, head, output, _targets(4, count, 90))


def classes_loss() -> Points:
    for count in (1, 100, 250, 500, 750, 1000):
        head, output = _head(count), _raw(1, count)
        yield count, partial(_backward, head, output, _targets(1, 20, count))


def classes_predict() -> Points:
    for count in (1, 100, 250, 500, 750, 1000):
        head, output = _head(count), _raw(1, count)
        yield count, partial(head.predict, output, Context((SIZE, SIZE)))


def sizes() -> Points:
    for size in (256, 384, 512, 640, 768, 896, 1024):
        model = fold(network("tf_efficientdet_d0", size).eval()).to(memory_format=torch.channels_last)
        images = pixels(1, size).contiguous(memory_format=torch.channels_last)
        yield size * size / 1e6, partial(_forward, model, images)


@torch.no_grad()
def _forward(model, images) -> object:
    return model.predict(model(images), Context.of(images))


def _head(classes: int) -> DetectionHead:
    return DetectionHead(8, classes, DetectionOptions(repeats=0))


def _raw(batch: int, classes: int) -> DetectionOutput:
    """Raw outputs of an image-like network: logits N(-6, 1.5), deltas N(0, 0.2)."""
    from heads.detection.anchors import AnchorSpec, anchors

    sides = tuple((SIZE >> level, SIZE >> level) for level in range(3, 8))
    grid = anchors(sides, (SIZE, SIZE), AnchorSpec(), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, len(grid), classes, generator=generator).mul_(1.5).sub_(6).requires_grad_()
    deltas = torch.randn(batch, len(grid), 4, generator=generator).mul_(0.2).requires_grad_()
    return DetectionOutput(logits, deltas, grid, (SIZE, SIZE), sides)


def _targets(batch: int, count: int, classes: int) -> Targets:
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 0.8, (batch, count, 2))
    corners = (np.concatenate([low, low + rng.uniform(0.03, 0.2, (batch, count, 2))], -1) * SIZE).astype(np.float32)
    return Targets(boxes=torch.from_numpy(corners), labels=torch.from_numpy(rng.integers(0, classes, (batch, count))))


def _backward(head: DetectionHead, output: DetectionOutput, targets: Targets) -> None:
    torch.stack(list(head.loss(output, targets, Context((SIZE, SIZE))).values())).sum().backward()
    output.class_logits.grad = output.box_deltas.grad = None
