"""What the evaluation loop does with a head's predictions: one evaluator a head.

An evaluator lives through one evaluation: `update` per batch on each process, `state` out and `merge` in where there are
several processes, `metrics` at the end on one of them. States are plain Python and numpy, so that they cross processes.
Everything is kept by the picture's index in the set, so that the order of processes and batches changes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.calibration import calibration_metrics
from effdet.evaluation.classes import ClassJoin
from effdet.evaluation.classification import (
    classification_metrics,
    confusion,
    confusion_metrics,
    first_class,
    ranks,
)
from effdet.evaluation.coco import capped_precision, coco_metrics, most_of_a_class
from effdet.evaluation.instance_iou import ObjectCounter
from effdet.evaluation.segmentation import confusion_matrix, segmentation_metrics
from heads.structures import ClassTable, Detections, UserError

WORTH_TELLING, WORTH_SHARE = 0.3, 0.01
"""A cap always cuts off something at the evaluation's score of .001, and a young model is a little sure of everything:
it matters, and is told, from this score on, in this share of the pictures."""


class Evaluator(Protocol):
    """Gathers one head's predictions and turns them into metrics."""

    def reset(self) -> None:
        """Forget every picture."""
        ...

    def update(self, predictions: Any, batch: EvalBatch) -> None:
        """Take the predictions for one batch, in original pixels."""
        ...

    def state(self) -> Any:
        """What was gathered, picklable."""
        ...

    def merge(self, states: Sequence[Any]) -> None:
        """Replace what was gathered by the union of `states` (all processes', this one's among them)."""
        ...

    def metrics(self) -> dict[str, Any]:
        """Metrics over every picture gathered."""
        ...

    def results(self) -> list[dict[str, Any]]:
        """Predictions in COCO result form, by picture; empty for heads without boxes."""
        ...


class DetectionEvaluator:
    """COCO metrics of boxes, over the pictures of sets that label boxes.

    Args:
        truth: COCO dictionary of the split's ground truth, in the set's own ids (`Source.coco()`).
        classes: the join of the model's classes with the data's.
        backend: see `coco_metrics`.
    """

    def __init__(self, truth: Mapping[str, Any], classes: ClassJoin, *, backend: str = "pycocotools") -> None:
        self.truth, self.classes, self.backend = truth, classes, backend
        category_ids = [-1 if index < 0 else classes.data.ids[index] for index in classes.to_data]
        self._category = np.array([-1 if own is None else own for own in category_ids], np.int64)
        self._joined = np.array(classes.to_data, np.int64) >= 0
        self._told = False
        self.reset()

    def reset(self) -> None:
        self._rows: dict[int, tuple[Any, bool, list[dict[str, Any]]]] = {}
        """By index in the set: image id, whether a cap cut something off, COCO results."""

    def update(self, predictions: Detections, batch: EvalBatch) -> None:
        boxes, scores, labels, counts = (
            values.cpu().numpy()
            for values in (predictions.boxes, predictions.scores, predictions.labels, predictions.counts)
        )
        capped = np.zeros(len(counts), bool) if predictions.capped is None else predictions.capped.cpu().numpy()
        for row, (index, record) in enumerate(zip(batch.indices, batch.records, strict=True)):
            if not getattr(record, "has_boxes", True):
                continue  # of a set that labels no boxes: every detection would look wrong
            keep = np.arange(boxes.shape[1]) < counts[row]
            keep &= self._joined[np.where(keep, labels[row], 0)]
            results = coco_results(
                record.image_id, boxes[row][keep], scores[row][keep], self._category[labels[row][keep]]
            )
            lost = bool(capped[row]) and counts[row] > 0 and scores[row][: counts[row]].min() >= WORTH_TELLING
            self._rows[index] = (record.image_id, bool(lost), results)

    def state(self) -> Any:
        return self._rows

    def merge(self, states: Sequence[Any]) -> None:
        self._rows = {index: row for state in states for index, row in state.items()}

    @property
    def known(self) -> tuple[bool, ...]:
        """For each logit of the model whether the data has its class."""
        return tuple(self._joined.tolist())

    @property
    def judged(self) -> int:
        """Number of pictures gathered."""
        return len(self._rows)

    @property
    def image_ids(self) -> dict[int, Any]:
        """The set's own id of each picture that was judged, by its index in the set."""
        return {index: self._rows[index][0] for index in sorted(self._rows)}

    @property
    def judged_truth(self) -> Mapping[str, Any]:
        """`truth`, of the pictures that were judged alone."""
        return restricted(self.truth, set(self.image_ids.values()))

    @property
    def capped(self) -> int:
        """Pictures on which a cap (candidates, detections) cut off what may have scored `WORTH_TELLING` or more."""
        return sum(capped for _, capped, _ in self._rows.values())

    def metrics(self) -> dict[str, Any]:
        self._tell_of_caps()
        truth, results = self.judged_truth, self.results()
        metrics = coco_metrics(truth, results, backend=self.backend)
        if (most := most_of_a_class(truth)) > 100:  # COCO's numbers stop there, whatever the model finds
            cap = -(-most // 100) * 100
            metrics[f"AP@{cap}"] = capped_precision(truth, results, cap=cap)
        return metrics

    def _tell_of_caps(self) -> None:
        """Once in a training: an early model is unsure of everything, and is cut off in every picture."""
        if self._told or self.capped < WORTH_SHARE * len(self._rows) or not self.capped:
            return
        self._told = True
        warnings.warn(
            f"{self.capped} of {len(self._rows)} pictures have more detections of score {WORTH_TELLING:g} and above than "
            "max_detections or pre_nms let through; where that many things are real, raise max_detections (COCO counts "
            "up to 100 a picture)",
            stacklevel=3,
        )

    def results(self) -> list[dict[str, Any]]:
        return [result for index in sorted(self._rows) for result in self._rows[index][2]]


class SemanticEvaluator:
    """IoU of class maps from one confusion matrix; pictures without a true class map are left out.

    Args:
        classes: the join of the model's classes with the data's.
        categories: see `segmentation_metrics`.
        write: is given each picture's record and its predicted map, (H, W) in 0…K-1 of the data's classes and K for none
            of them; pictures without a true map too.
    """

    def __init__(
        self,
        classes: ClassJoin,
        *,
        categories: Mapping[str, Sequence[str]] | None = None,
        write: Callable[[Any, np.ndarray], None] | None = None,
    ) -> None:
        self.classes, self.categories, self.write = classes, categories, write
        self._names = [str(name) for name in classes.data.names]
        self._count_objects = ObjectCounter(self._names)
        # Predicted value -> the data's class; classes that the data lacks become "none of these".
        self._lookup = np.full(256, len(self._names), np.int64)
        for index, own in enumerate(classes.to_data):
            if own >= 0:
                self._lookup[index] = own
        self.reset()

    def reset(self) -> None:
        self._by_picture: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        """By index in the set: (K, K + 1) int64 pixels, and (K, 4) float64 of its objects where they are told apart."""

    def update(self, predictions: Sequence[np.ndarray | Tensor], batch: EvalBatch) -> None:
        instances = batch.instances or (None,) * len(batch)
        rows = zip(predictions, batch.masks, instances, batch.indices, batch.records, strict=True)
        for predicted, truth, objects, index, record in rows:
            values = predicted.cpu().numpy() if isinstance(predicted, Tensor) else np.asarray(predicted)
            labels = self._lookup[values]
            if self.write is not None:
                self.write(record, labels)
            if truth is None:
                continue
            try:
                matrix = confusion_matrix(truth, labels, len(self._names))
            except UserError as error:
                raise UserError(f"{record.file_name}: {error}") from None
            self._by_picture[index] = matrix, None if objects is None else self._count_objects(objects, labels)

    def state(self) -> Any:
        return self._by_picture

    def merge(self, states: Sequence[Any]) -> None:
        self._by_picture = {index: matrix for state in states for index, matrix in state.items()}

    @property
    def judged(self) -> int:
        """Number of pictures gathered."""
        return len(self._by_picture)

    @property
    def by_picture(self) -> dict[int, np.ndarray]:
        """(K, K + 1) int64 confusion of each picture that was judged, by its index in the set."""
        return {index: self._by_picture[index][0] for index in sorted(self._by_picture)}

    @property
    def confusion(self) -> np.ndarray:
        """(K, K + 1) int64 over all pictures; the last column is "none of these"."""
        empty = np.zeros((len(self._names), len(self._names) + 1), np.int64)
        return sum((matrix for matrix, _ in self._by_picture.values()), empty)

    @property
    def objects(self) -> np.ndarray | None:
        """(K, 4) over all pictures, summed by index; None where no picture tells objects apart."""
        ordered = (self._by_picture[index][1] for index in sorted(self._by_picture))
        counted = [objects for objects in ordered if objects is not None]
        return sum(counted[1:], counted[0]) if counted else None

    def metrics(self) -> dict[str, Any]:
        return segmentation_metrics(self.confusion, self._names, categories=self.categories, objects=self.objects)

    def results(self) -> list[dict[str, Any]]:
        return []


class ClassificationEvaluator:
    """Accuracy, confusion and calibration; pictures whose record has no label are left out.

    Args:
        classes: the join of the model's classes with the data's.
    """

    def __init__(self, classes: ClassJoin) -> None:
        self.classes = classes
        self._names = [str(name) for name in classes.data.names]
        self.reset()

    def reset(self) -> None:
        self._rows: dict[int, tuple[int, np.ndarray]] = {}
        """By index in the set: true class, (K,) float32 scores of the data's classes."""

    def update(self, predictions: Tensor, batch: EvalBatch) -> None:
        scores = data_scores(predictions, self.classes).float().cpu().numpy()
        for row, (index, record) in enumerate(zip(batch.indices, batch.records, strict=True)):
            if record.label is not None:
                self._rows[index] = (int(record.label), scores[row])

    def state(self) -> Any:
        return self._rows

    def merge(self, states: Sequence[Any]) -> None:
        self._rows = {index: row for state in states for index, row in state.items()}

    @property
    def judged(self) -> int:
        """Number of pictures gathered."""
        return len(self._rows)

    @property
    def by_picture(self) -> dict[int, tuple[int, np.ndarray]]:
        """True class and (K,) float32 scores of each picture that was judged, by its index in the set."""
        return {index: self._rows[index] for index in sorted(self._rows)}

    def metrics(self) -> dict[str, Any]:
        rows = list(self.by_picture.values())
        labels = np.array([label for label, _ in rows], np.int64)
        scores = np.array([row for _, row in rows], np.float32).reshape(len(rows), len(self._names))
        counts = confusion(first_class(scores), labels, len(self._names))
        with np.errstate(divide="ignore"):  # a class that the model lacks has the probability 0
            calibration = calibration_metrics(np.log(np.maximum(scores, 0)), labels)
        return {
            **classification_metrics(ranks(scores, labels), labels, self._names),
            **calibration,
            **confusion_metrics(counts, self._names),
        }

    def results(self) -> list[dict[str, Any]]:
        return []


def data_scores(scores: Tensor, classes: ClassJoin) -> Tensor:
    """(B, K of the model) -> (B, K of the data); -inf for classes that the model lacks, the larger of two that join."""
    joined = scores.new_full((scores.shape[0], len(classes.data)), float("-inf"))
    known = [index for index, own in enumerate(classes.to_data) if own >= 0]
    own = torch.tensor([classes.to_data[index] for index in known], device=scores.device)
    return joined.scatter_reduce(1, own.expand(scores.shape[0], -1), scores[:, known], "amax")


def coco_results(
    image_id: Any, boxes: np.ndarray, scores: np.ndarray, category_ids: np.ndarray
) -> list[dict[str, Any]]:
    """One picture's detections in COCO result form.

    Args:
        image_id: the set's own id of the picture.
        boxes: (N, 4) xyxy, original pixels.
        scores: (N,) float.
        category_ids: (N,) the owner's category ids.
    """
    xywh = boxes.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    rows = zip(xywh.tolist(), scores.tolist(), category_ids.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category, "bbox": box, "score": score} for box, score, category in rows
    ]


def restricted(truth: Mapping[str, Any], image_ids: set[Any]) -> Mapping[str, Any]:
    """`truth` with the pictures of `image_ids` alone; unchanged where that is all of them."""
    images = [image for image in truth["images"] if image["id"] in image_ids]
    if len(images) == len(truth["images"]):
        return truth
    annotations = [annotation for annotation in truth["annotations"] if annotation["image_id"] in image_ids]
    return {**truth, "images": images, "annotations": annotations}


def same_classes(table: ClassTable) -> ClassJoin:
    """The join of a table with itself, by index: for predictions that are in the data's own classes already."""
    return ClassJoin(table, table, tuple(range(len(table))))
