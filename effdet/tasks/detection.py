"""Detection: boxes with a class and a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from effdet.drawing.colours import class_colours, lifted
from effdet.evaluation import ClassJoin, DetectionEvaluator, EvalBatch
from effdet.model.spec import HeadSpec
from effdet.report.boxes import BoxReport
from effdet.tasks.kit import FirstLoss, Kit, Target, class_name, hex_colour
from heads.class_weights import box_weights
from heads.detection import DetectionHead
from heads.detection.boxes import decode
from heads.detection.head import DetectionOutput, Goal
from heads.detection.losses import ClassLoss, FocalLoss, QualityFocalLoss, VarifocalLoss
from heads.prior import PRIOR
from heads.protocol import Context
from heads.ranks import alone
from heads.structures import ClassTable, Detections, Targets

if TYPE_CHECKING:
    from effdet.data import Dataset
    from effdet.inference import Prediction

DETECTIONS = ("boxes", "scores", "labels", "counts")
"""Outputs of a detection head whose NMS is in the graph: (B, N, 4) float32 xyxy in input pixels, (B, N) float32 falling and 0
in padding, (B, N) int64 and -1 in padding, (B,) int64."""
OWN_CLASS_LOSSES = (FocalLoss, QualityFocalLoss, VarifocalLoss)
ANCHORS = ("class_logits", "boxes")
"""Outputs of a detection head without: (B, A, K) float32, before the sigmoid, and (B, A, 4) float32 xyxy in input pixels."""


@dataclass(frozen=True)
class DecodedOutput:
    """A detection head's output with its boxes decoded."""

    class_logits: Tensor
    """(B, A, K)."""
    boxes: Tensor
    """(B, A, 4) float32 xyxy, input pixels."""


class DetectionKit(Kit):
    """Boxes for each image."""

    head = DetectionHead
    label = "boxes"
    metric = "AP"
    gives = ("boxes", "scores", "labels")
    postprocess_keys = ("score_threshold", "nms_iou", "max_detections")

    def complete(self, spec: HeadSpec, source: Dataset) -> HeadSpec:
        """Numbers where the loss names a rule by which the data's classes are weighed."""
        rule = spec.options.get("loss", {}).get("class_weights")
        if not isinstance(rule, str):
            return spec
        table = source.records
        boxes = np.bincount(table.labels[~table.crowd], minlength=len(source.classes))
        weights = [round(weight, 4) for weight in box_weights(boxes.tolist(), rule)]
        return replace(spec, options={**spec.options, "loss": {**spec.options["loss"], "class_weights": weights}})

    def evaluator(self, source: Dataset, classes: ClassJoin, *, backend: str = "pycocotools") -> DetectionEvaluator:
        return DetectionEvaluator(source.coco(), classes, backend=backend)

    def truth(self, batch: EvalBatch) -> Detections:
        """Each image's boxes that count (no crowds), with the score 1."""
        kept = [~np.asarray(record.crowd, bool) for record in batch.records]
        counts = torch.tensor([int(keep.sum()) for keep in kept])
        longest = int(counts.max()) if len(counts) else 0
        boxes, labels = torch.zeros(len(batch), longest, 4), torch.full((len(batch), longest), -1)
        for row, (record, keep) in enumerate(zip(batch.records, kept, strict=True)):
            count = int(keep.sum())
            boxes[row, :count] = torch.from_numpy(np.asarray(record.boxes)[keep])
            labels[row, :count] = torch.from_numpy(np.asarray(record.labels)[keep])
        return Detections(boxes, (labels >= 0).float(), labels, counts)

    def has_truth(self, source: Dataset) -> bool:
        return len(source.records.labels) > 0

    def report(self, evaluator: DetectionEvaluator) -> BoxReport:
        return BoxReport(evaluator)

    def first_loss(self, head: Any, output: Any, targets: Targets) -> FirstLoss | None:
        """Class loss of a head whose every entry has the prior's probability.

        None where no image of the batch is labelled with boxes, or the class loss is the user's.
        """
        if (goal := _goal(head, output, targets)) is None:
            return None
        with alone():
            divisor = float(head.divisor(goal))
        return FirstLoss(
            "class",
            head.loss_settings.class_weight
            * _at_prior(head.class_loss, output.class_logits, goal.classes, goal)
            / divisor,
            "the focal prior predicts",
            "the last class layer does not start at its prior, or labels lie outside the classes. Your own head starts "
            "there by heads.prior.start_at_prior(layer, heads.prior.PRIOR); weights=FILE loads a head that is trained",
        )

    def new_rows(self, head: Any, output: Any, targets: Targets, rows: Sequence[int]) -> tuple[float, float] | None:
        """None where :meth:`first_loss` is None."""
        if (goal := _goal(head, output, targets)) is None:
            return None
        index = torch.full((head.num_classes + 1,), -1, device=goal.classes.device)
        index[list(rows)] = torch.arange(len(rows), device=goal.classes.device)
        own = index[goal.classes]  # (B, A): -1 picks the last place, which is -1
        logits = output.class_logits.detach()[..., list(rows)].contiguous()
        loss = head.class_loss
        if isinstance(loss, OWN_CLASS_LOSSES) and loss.class_weights is not None:
            loss = replace(loss, class_weights=tuple(loss.class_weights[row] for row in rows))
        found = loss(logits, own, score=goal.score, weight=goal.labelled)
        return float(found), _at_prior(loss, logits, own, goal)

    def fields(self, predicted: Any, row: int) -> dict[str, Any]:
        if not isinstance(predicted, Detections):
            return {}
        boxes, scores, labels = (values.cpu().numpy() for values in predicted.image(row))
        return {"boxes": boxes, "scores": scores.astype(np.float32), "labels": labels}

    def to_dict(self, prediction: Prediction) -> dict[str, Any]:
        columns = (prediction.names, prediction.labels.tolist(), prediction.scores.tolist(), prediction.boxes.tolist())
        rows = zip(*columns, strict=True)
        boxes = [{"name": name, "label": label, "score": score, "box": box} for name, label, score, box in rows]
        for entry, track in zip(boxes, () if prediction.tracks is None else prediction.tracks.tolist(), strict=False):
            entry["track"] = track
        return {"boxes": boxes}

    def response(self, prediction: Prediction, *, masks: bool) -> dict[str, Any]:
        """Boxes with the colours of their classes."""
        colours = [hex_colour(lifted(colour)) for colour in class_colours(prediction.classes[self.name].names)]
        boxes = self.to_dict(prediction)["boxes"]
        return {"boxes": [{**box, "colour": colours[box["label"]]} for box in boxes]}

    def schema(self) -> dict[str, Any]:
        corners = "x1, y1, x2, y2 in pixels of the image, after its EXIF rotation."
        box = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4, "description": corners}
        properties = {
            "name": {"type": "string"},
            "label": {"type": "integer", "description": "Index of the class, from 0."},
            "score": {"type": "number"},
            "box": box,
            "colour": {"type": "string", "description": "#rrggbb of the class."},
        }
        items = {"type": "object", "properties": properties}
        return {"boxes": {"type": "array", "items": items, "description": "Sorted by falling score."}}

    def drawing(self, prediction: Prediction) -> dict[str, Any]:
        return {
            "boxes": prediction.boxes,
            "labels": prediction.labels,
            "scores": prediction.scores,
            "names": prediction.classes[self.name].names,
        }

    def canvas_drawing(
        self, predicted: Any, classes: ClassTable, size: tuple[int, int], *, score: float
    ) -> dict[str, Any]:
        if not isinstance(predicted, Detections):
            return {}
        labels = predicted.labels.masked_fill(predicted.scores < score, -1)
        return {"boxes": predicted.boxes, "labels": labels, "scores": predicted.scores, "names": classes.names}

    def explained(self, head: Any, output: Any, classes: ClassTable, *, most: int, score: float) -> list[Target] | None:
        """The best boxes, each by the logit of its class at its anchor."""
        if not isinstance(output, DetectionOutput):
            return None
        with torch.no_grad():
            found: Detections = head.predict(output, Context(output.image_size))
            decoded = decode(output.anchors, output.box_deltas.float())[0]  # (A, 4)
        cells = [height * width for height, width in output.feature_sizes]
        per_cell = len(decoded) // sum(cells)
        ends = np.cumsum(np.array(cells) * per_cell)
        targets = []
        for box, sure, label in zip(*(values[:most] for values in found.image(0)), strict=True):
            if sure < score:
                continue
            own = output.class_logits[0, :, label].detach()
            distance = (decoded - box).abs().sum(1)
            # The anchor that found it: its decoded box is this one, and of equal boxes it is the surest.
            anchor = int(torch.where(distance <= distance.min() + 1e-3, own.float(), -torch.inf).argmax())
            targets.append(
                Target(
                    name=class_name(classes, int(label)),
                    score=float(sure),
                    number=_logit(self.name, anchor, int(label)),
                    layer=head.in_levels[int(np.searchsorted(ends, anchor, side="right"))],
                    method="hires",
                    box=tuple(box.tolist()),
                )
            )
        return targets

    def graph_outputs(self, head: Any, *, nms: bool) -> tuple[str, ...] | None:
        if not isinstance(head, DetectionHead):
            return None
        return DETECTIONS if nms else ANCHORS

    def to_graph(self, output: Any, suppress: Callable[[Tensor, Tensor], tuple[Tensor, ...]] | None) -> list[Tensor]:
        if not isinstance(output, DetectionOutput):
            return super().to_graph(output, suppress)
        logits, deltas = output.class_logits.float(), output.box_deltas.float()
        boxes = decode_by_products(output.anchors, deltas)  # in float32 whatever the network computes in
        return [logits, boxes] if suppress is None else list(suppress(logits, boxes))

    def from_graph(self, tensors: Mapping[str, Tensor], *, nms: bool) -> Any:
        names = DETECTIONS if nms else ANCHORS
        if not set(names) <= set(tensors):
            return super().from_graph(tensors, nms=nms)
        parts = {name: tensors[name] for name in names}
        return Detections(**parts) if nms else DecodedOutput(**parts)


def detector(heads: Mapping[str, Any]) -> str | None:
    """The name of the anchor-based detection head among `heads`; None where there is none."""
    return next((name for name, head in heads.items() if isinstance(head, DetectionHead)), None)


def decode_by_products(anchors: Tensor, deltas: Tensor) -> Tensor:
    """:func:`heads.detection.boxes.decode`, (A, 4) and (B, A, 4) -> (B, A, 4) xyxy, as runtimes like it.

    They take columns of four apart and put them together one number at a time, which lasts longer than all the arithmetic.
    So ``ty tx th tw`` come to their places by a product with zeros and ones, which changes no finite number.
    """
    centres, sizes = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    centres, sizes = torch.cat([centres, centres], 1), torch.cat([sizes, sizes], 1)  # x y x y, w h w h
    nothing = [0.0, 0.0, 0.0, 0.0]
    shift = deltas @ anchors.new_tensor([[0, 1, 0, 1], [1, 0, 1, 0], nothing, nothing])  # tx ty tx ty
    growth = deltas @ anchors.new_tensor([nothing, nothing, [0, 1, 0, 1], [1, 0, 1, 0]])  # tw th tw th
    halves = sizes * anchors.new_tensor([-0.5, -0.5, 0.5, 0.5])
    return shift * sizes + centres + growth.exp() * halves


def _logit(name: str, anchor: int, label: int) -> Callable[[Mapping[str, Any]], Tensor]:
    return lambda outputs: outputs[name].class_logits[0, anchor, label]


def _goal(head: Any, output: Any, targets: Targets) -> Goal | None:
    """What each anchor learns at the start of a training; None where the prior says nothing of the class loss."""
    if not isinstance(head, DetectionHead) or not isinstance(head.class_loss, OWN_CLASS_LOSSES):
        return None
    if targets.boxes is None or (targets.has_boxes is not None and not targets.has_boxes.any()):
        return None
    return head.goal(output, targets, Context(output.image_size, progress=0.0))


def _at_prior(loss: ClassLoss, logits: Tensor, classes: Tensor, goal: Goal) -> float:
    """Sum of the class loss where every entry of `logits` (B, A, K) has the probability :data:`PRIOR`."""
    prior = torch.full_like(logits.detach(), math.log(PRIOR / (1 - PRIOR)), dtype=torch.float32)
    return float(loss(prior, classes, score=goal.score, weight=goal.labelled))
