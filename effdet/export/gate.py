"""The parity gate: an exported file against the model that it came from, on images.

Peers' users complain most of files that silently say something else than their model did. So every file is run in its own
runtime before it is handed over, and the largest difference, the detections that agree, and where labels are given the
metrics before and after, decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from effdet.evaluation import ModelPredictFn
from effdet.inference.runtime_model import RuntimeModel, predict_function
from effdet.model import VisionModel
from effdet.tasks.detection import DecodedOutput
from effdet.tasks.kit import raw_tensors
from heads.detection.boxes import box_iou, decode
from heads.detection.postprocess import postprocess
from heads.protocol import Context
from heads.structures import Detections

Measure = Callable[[ModelPredictFn], Mapping[str, Any]]
"""A predict function -> its metrics on a labelled set."""
METRICS = ("AP", "mIoU", "top1")
"""What a change is evaluated by, where it is measured."""
CONFIDENT, BEST, LARGEST = 0.3, 10, 100
"""Detections that must be found again: those of this score, and the best of every image. Boxes that are compared
without NMS: those of the anchors of an image with the highest scores; the others never become a detection."""


@dataclass(frozen=True)
class Tolerance:
    """What may differ; None is not evaluated."""

    logit: float | None = None
    """Largest difference of a logit."""
    box: float | None = None
    """Largest difference of a box coordinate, input pixels."""
    output: float | None = None
    """Largest difference of another head's raw output."""
    agreement: float | None = None
    """Least share of the model's confident detections that the file makes too (same class, IoU of .5 or more)."""
    drop: float | None = None
    """Most that a metric (AP, mIoU, top-1, each 0…1) may lose."""

    @classmethod
    def of(cls, precision: str, changes: Mapping[str, float | None] | None = None) -> Self:
        """The usual one of a precision, with `changes` that are not None."""
        passed = {name: value for name, value in (changes or {}).items() if value is not None}
        return cls(**{**_USUAL[precision], **passed})


_USUAL: Mapping[str, Mapping[str, float]] = {
    "fp32": {"logit": 2e-3, "box": 0.1, "output": 2e-3, "agreement": 0.98, "drop": 5e-4},
    "fp16": {"logit": 0.2, "box": 4.0, "output": 0.2, "agreement": 0.95, "drop": 3e-3},
    "bf16": {"agreement": 0.9, "drop": 7e-3},
    "int8": {"agreement": 0.75, "drop": 0.015},
}
# bf16 and int8 move single logits by whole units in places that no detection comes from: there detections and metrics evaluate.


@dataclass(frozen=True)
class Difference:
    """One line of the report."""

    name: str
    value: float
    limit: float | None
    least: bool = False
    """True: `limit` is the least that will do."""

    @property
    def passed(self) -> bool:
        if self.limit is None:
            return True
        # Written so that NaN fails.
        return self.value >= self.limit if self.least else self.value <= self.limit


@dataclass(frozen=True)
class GateReport:
    """What was compared."""

    differences: tuple[Difference, ...]
    images: int
    metrics: Mapping[str, tuple[float, float]]
    """By name: of the model, of the file."""

    @property
    def failed(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if not difference.passed)

    def __getitem__(self, name: str) -> float:
        return next(difference.value for difference in self.differences if difference.name == name)

    def raise_if_failed(self, path: Path) -> None:
        if self.failed:
            raise GateError(self, path)

    def lines(self) -> list[str]:
        """One line a difference, aligned."""
        width = max((len(difference.name) for difference in self.differences), default=0)
        texts = []
        for difference in self.differences:
            bound = "" if difference.limit is None else f"  {_bound(difference)}"
            failed = "" if difference.passed else "  FAILED"
            texts.append(f"{difference.name:<{width}}  {difference.value:10.4g}{bound}{failed}")
        return texts


class GateError(RuntimeError):
    """A file that says something else than its model. A command ends with the exit code 1."""

    exit_code = 1

    def __init__(self, report: GateReport, path: Path) -> None:
        self.report = report
        found = "; ".join(f"{d.name} {d.value:.4g} ({_bound(d)})" for d in report.failed)
        super().__init__(
            f"{path} was not written: it differs from the model in {found}, on {report.images} images. "
            "Look at the numbers above before raising tolerance.*"
        )


def check(
    model: VisionModel, opened: RuntimeModel, images: Tensor, tolerance: Tolerance, measure: Measure | None
) -> GateReport:
    """Compare `opened` with `model` on `images` (N, 3, H, W) uint8, and by `measure` where it is given.

    Both run on the CPU, the model in float32.
    """
    found = _Found()
    model = model.cpu().eval()
    with torch.no_grad():
        for image in images:
            _compare(model, opened, image[None], found)
    differences = found.differences(tolerance)
    metrics: dict[str, tuple[float, float]] = {}
    if measure is not None:
        settings = asdict(opened.settings) if found.detects else None
        # A file that holds its NMS lets all of its classes compete: so does the model that it is compared with.
        inside = found.detects and opened.info.nms
        before = measure(predict_function(model, postprocess=settings, all_compete=inside))
        after = measure(predict_function(opened))
        for name in METRICS:
            if name in before:
                metrics[name] = (float(before[name]), float(after[name]))
                lost = metrics[name][0] - metrics[name][1]
                differences.append(Difference(f"loss of {name}", lost, tolerance.drop))
    return GateReport(tuple(differences), len(images), metrics)


class _Found:
    """The largest differences so far."""

    def __init__(self) -> None:
        self.most: dict[str, float] = {}
        self.again = self.expected = 0
        self.detects = False

    def note(self, name: str, first: Tensor, second: Tensor) -> None:
        difference = (first.double() - second.double()).abs()
        value = float(difference.max()) if difference.numel() else 0.0
        if not value <= self.most.get(name, 0.0):  # NaN is noted, and stays
            self.most[name] = value
        self.most.setdefault(name, value)

    def differences(self, tolerance: Tolerance) -> list[Difference]:
        limits = {"logit": tolerance.logit, "box": tolerance.box}
        lines = [Difference(name, value, limits.get(name, tolerance.output)) for name, value in self.most.items()]
        if self.expected:
            lines.append(Difference("agreement", self.again / self.expected, tolerance.agreement, least=True))
        return lines


def _compare(model: VisionModel, opened: RuntimeModel, pixels: Tensor, found: _Found) -> None:
    """One image (1, 3, H, W) uint8."""
    truth = model(model.preprocess.normalise(pixels))
    seen, context = opened(opened.preprocess.normalise(pixels)), Context.of(pixels)
    for name, output in seen.items():
        if name != opened.detector:
            for part, value in raw_tensors(name, output).items():
                found.note(part, raw_tensors(name, truth[name])[part], value)
            continue
        own, head = truth[name], model.heads[name]
        found.detects = True
        named: Tensor = head.named_classes  # type: ignore[assignment]
        expected = postprocess(own.class_logits, own.box_deltas, own.anchors, opened.settings, named=named)
        detections = opened.predict({name: output}, context)[name]
        confident = _confident(expected)
        if isinstance(output, DecodedOutput):
            found.note("logit", own.class_logits, output.class_logits)
            peaks = own.class_logits[0, :, named].amax(1)
            anchors = peaks.topk(min(LARGEST, len(peaks))).indices
            found.note("box", decode(own.anchors, own.box_deltas.float())[0, anchors], output.boxes[0, anchors])
        else:
            first, second = _pairs(confident, detections, iou=0.9)
            found.note("logit", first[1].logit(eps=1e-7), second[1].logit(eps=1e-7))
            found.note("box", first[0], second[0])
        found.expected += len(confident[0])
        found.again += len(_pairs(confident, detections, iou=0.5)[0][0])


def _confident(detections: Detections) -> tuple[Tensor, Tensor, Tensor]:
    boxes, scores, labels = detections.image(0)
    keep = (scores >= CONFIDENT) | (torch.arange(len(scores)) < BEST)
    return boxes[keep], scores[keep], labels[keep]


def _pairs(
    expected: tuple[Tensor, Tensor, Tensor], detections: Detections, *, iou: float
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(boxes, scores) of those expected that have a detection of their class at `iou` or more, and of that detection."""
    boxes, scores, labels = detections.image(0)
    if not len(boxes) or not len(expected[0]):
        none = (boxes[:0], scores[:0])
        return none, none
    overlap = box_iou(expected[0], boxes).masked_fill(expected[2][:, None] != labels[None], -1.0)
    best, index = overlap.max(1)
    hit = best >= iou
    return (expected[0][hit], expected[1][hit]), (boxes[index[hit]], scores[index[hit]])


def _bound(difference: Difference) -> str:
    bound = "at least" if difference.least else "at most"
    return f"{bound} {difference.limit:.4g}"
