"""What the evaluation loop does with a head's predictions: one evaluator a head.

An evaluator lives through one evaluation: `update` per batch on each process, `state` out and `merge` in where there are
several processes, `metrics` at the end on one of them. States are plain Python and numpy, so that they cross processes.
Everything is kept by the image's index in the set, so that the order of processes and batches changes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.classes import ClassJoin
from effdet.evaluation.classification import (
    calibration_metrics,
    classification_metrics,
    confusion,
    confusion_metrics,
    first_class,
    ranks,
)
from effdet.evaluation.coco import Pairs, measure, most_of_a_class
from effdet.evaluation.coco_format import coco_inputs
from effdet.evaluation.segmentation import ObjectCounter, confusion_matrix, segmentation_metrics
from heads.structures import ClassTable, Detections, UserError

Row = TypeVar("Row")
WORTH_REPORTING, WORTH_SHARE = 0.3, 0.01
"""A cap always cuts off something at the evaluation's score of .001, and a young model is a little sure of everything:
it matters, and is reported, from this score on, in this share of the images."""


class Evaluator(Protocol):
    """Gathers one head's predictions and turns them into metrics."""

    def reset(self) -> None:
        """Drop all images."""

    def update(self, predictions: Any, batch: EvalBatch) -> None:
        """Take the predictions for one batch, in original pixels."""

    def state(self) -> Any:
        """What was gathered, picklable."""
        ...

    def merge(self, states: Sequence[Any]) -> None:
        """Replace what was gathered by the union of `states` (all processes', this one's among them)."""

    def metrics(self) -> dict[str, Any]:
        """Metrics over every image gathered."""
        ...

    def results(self) -> list[dict[str, Any]]:
        """Predictions in COCO result form, by image; empty for heads without boxes."""
        ...


class RowEvaluator(Generic[Row]):
    """Base of evaluators that keep one row an image, by its index in the set."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._rows: dict[int, Row] = {}

    def state(self) -> dict[int, Row]:
        return self._rows

    def merge(self, states: Sequence[dict[int, Row]]) -> None:
        self._rows = {index: row for state in states for index, row in state.items()}

    @property
    def evaluated(self) -> int:
        """Number of images gathered."""
        return len(self._rows)

    @property
    def rows(self) -> dict[int, Row]:
        """What was gathered, by rising index in the set."""
        return {index: self._rows[index] for index in sorted(self._rows)}

    def results(self) -> list[dict[str, Any]]:
        return []


class DetectionEvaluator(RowEvaluator[tuple[Any, bool, list[dict[str, Any]]]]):
    """COCO metrics of boxes, over the images of sets that label boxes.

    Args:
        truth: COCO dictionary of the split's ground truth, in the set's own ids (`Dataset.coco()`).
        classes: the join of the model's classes with the data's.
    """

    def __init__(self, truth: Mapping[str, Any], classes: ClassJoin, *, backend: str = "pycocotools") -> None:
        self.truth, self.classes, self.backend = truth, classes, backend
        category_ids = [-1 if index < 0 else classes.data.ids[index] for index in classes.to_data]
        self._category = np.array([-1 if own is None else own for own in category_ids], np.int64)
        self._joined = np.array(classes.to_data, np.int64) >= 0
        self._reported = False
        super().__init__()  # a row: image id, whether a cap cut something off, COCO results

    def reset(self) -> None:
        super().reset()
        self.pairs: Pairs | None = None
        """Who was matched with whom in the last :meth:`metrics`, where the backend says so."""

    def merge(self, states: Sequence[dict[int, tuple[Any, bool, list[dict[str, Any]]]]]) -> None:
        super().merge(states)
        self.pairs = None

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
            lost = bool(capped[row]) and counts[row] > 0 and scores[row][: counts[row]].min() >= WORTH_REPORTING
            self._rows[index] = (record.image_id, bool(lost), results)

    @property
    def known(self) -> tuple[bool, ...]:
        """For each logit of the model whether the data has its class."""
        return tuple(self._joined.tolist())

    @property
    def image_ids(self) -> dict[int, Any]:
        """The set's own id of each image that was evaluated, by its index in the set."""
        return {index: image_id for index, (image_id, _, _) in self.rows.items()}

    @property
    def evaluated_truth(self) -> Mapping[str, Any]:
        """`truth`, restricted to the images that were evaluated."""
        return restricted(self.truth, set(self.image_ids.values()))

    @property
    def capped(self) -> int:
        """Images on which a cap (candidates, detections) cut off what may have scored `WORTH_REPORTING` or more."""
        return sum(capped for _, capped, _ in self._rows.values())

    def metrics(self) -> dict[str, Any]:
        self._warn_of_caps()
        truth, results = self.evaluated_truth, self.results()
        most = most_of_a_class(truth)
        cap = -(-most // 100) * 100 if most > 100 else None  # COCO's numbers stop at 100, whatever the model finds
        metrics, self.pairs = measure(coco_inputs(truth, results), backend=self.backend, cap=cap)
        return metrics

    def _warn_of_caps(self) -> None:
        """Once in a training: an early model is unsure of everything, and is cut off in every image."""
        if self._reported or self.capped < WORTH_SHARE * len(self._rows) or not self.capped:
            return
        self._reported = True
        warnings.warn(
            f"{self.capped} of {len(self._rows)} images have more detections of score {WORTH_REPORTING:g} and above than "
            "max_detections or pre_nms let through; where that many things are real, raise max_detections (COCO counts "
            "up to 100 an image)",
            stacklevel=3,
        )

    def results(self) -> list[dict[str, Any]]:
        return [result for _, _, results in self.rows.values() for result in results]


class SemanticEvaluator(RowEvaluator[tuple[np.ndarray, np.ndarray | None]]):
    """IoU of segmentation maps from one confusion matrix; images without a true segmentation map are left out.

    Args:
        classes: the join of the model's classes with the data's.
        write: is given each image's record and its predicted map, (H, W) in 0…K-1 of the data's classes and K for none
            of them; images without a true map too.
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
        super().__init__()  # a row: (K, K + 1) int64 pixels, and (K, 4) float64 of its objects where they are distinguished

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
            self._rows[index] = matrix, None if objects is None else self._count_objects(objects, labels)

    @property
    def by_image(self) -> dict[int, np.ndarray]:
        """(K, K + 1) int64 confusion of each image that was evaluated, by its index in the set."""
        return {index: matrix for index, (matrix, _) in self.rows.items()}

    @property
    def confusion(self) -> np.ndarray:
        """(K, K + 1) int64 over all images; the last column is "none of these"."""
        empty = np.zeros((len(self._names), len(self._names) + 1), np.int64)
        return sum((matrix for matrix, _ in self._rows.values()), empty)

    @property
    def objects(self) -> np.ndarray | None:
        """(K, 4) over all images, summed by index; None where no image tells objects apart."""
        counted = [objects for _, objects in self.rows.values() if objects is not None]
        return sum(counted[1:], counted[0]) if counted else None

    def metrics(self) -> dict[str, Any]:
        return segmentation_metrics(self.confusion, self._names, categories=self.categories, objects=self.objects)


class ClassificationEvaluator(RowEvaluator[tuple[int, np.ndarray]]):
    """Accuracy, confusion and calibration; images whose record has no label are left out.

    Args:
        classes: the join of the model's classes with the data's.
    """

    def __init__(self, classes: ClassJoin) -> None:
        self.classes = classes
        self._names = [str(name) for name in classes.data.names]
        super().__init__()  # a row: true class, (K,) float32 scores of the data's classes

    def update(self, predictions: Tensor, batch: EvalBatch) -> None:
        scores = data_scores(predictions, self.classes).float().cpu().numpy()
        for row, (index, record) in enumerate(zip(batch.indices, batch.records, strict=True)):
            if record.label is not None:
                self._rows[index] = (int(record.label), scores[row])

    def metrics(self) -> dict[str, Any]:
        rows = list(self.rows.values())
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


def data_scores(scores: Tensor, classes: ClassJoin) -> Tensor:
    """(B, K of the model) -> (B, K of the data); -inf for classes that the model lacks, the larger of two that join."""
    joined = scores.new_full((scores.shape[0], len(classes.data)), float("-inf"))
    known = [index for index, own in enumerate(classes.to_data) if own >= 0]
    own = torch.tensor([classes.to_data[index] for index in known], device=scores.device)
    return joined.scatter_reduce(1, own.expand(scores.shape[0], -1), scores[:, known], "amax")


def coco_results(
    image_id: Any, boxes: np.ndarray, scores: np.ndarray, category_ids: np.ndarray
) -> list[dict[str, Any]]:
    """One image's detections in COCO result form.

    Args:
        image_id: the set's own id of the image.
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
    """`truth` with only the images of `image_ids`; unchanged where that is all of them."""
    images = [image for image in truth["images"] if image["id"] in image_ids]
    if len(images) == len(truth["images"]):
        return truth
    annotations = [annotation for annotation in truth["annotations"] if annotation["image_id"] in image_ids]
    return {**truth, "images": images, "annotations": annotations}


def same_classes(table: ClassTable) -> ClassJoin:
    """The join of a table with itself, by index: for predictions that are in the data's own classes already."""
    return ClassJoin(table, table, tuple(range(len(table))))
