"""The loss on the evaluation set: how a head is evaluated of whose predictions nothing more is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.classes import ClassJoin
from effdet.evaluation.evaluators import RowEvaluator
from effdet.preprocess import restore_mask
from heads.structures import Geometry, Targets

SUFFIX = "_loss"
"""Metrics with such a name are better when they are lower."""


class LossEvaluator(RowEvaluator[tuple[int, dict[str, float]]]):
    """``HEAD_loss``, the sum of the head's loss terms: the mean over batches, weighed by their images.

    A row: number of images in a batch and its loss terms, by the index of its first image.
    """

    def __init__(self, name: str, classes: ClassJoin) -> None:
        super().__init__()
        self.name = name
        self._own = np.full(len(classes.data) + 1, -1, np.int64)
        """Class of the data -> the model's, -1 for none; the last entry is that of no class."""
        for own, theirs in reversed(list(enumerate(classes.to_data))):
            if theirs >= 0:
                self._own[theirs] = own

    def targets(self, batch: EvalBatch) -> Targets:
        """The labels of `batch` in input pixels, as training has them; boxes of crowds and of unknown classes are left out."""
        boxes, labels = [], []
        for record, geometry in zip(batch.records, batch.geometries, strict=True):
            height, width = geometry.canvas
            box = geometry.to_canvas(record.boxes).clip(0, (width, height, width, height))
            own = self._own[np.asarray(record.labels, np.int64)]
            keep = (own >= 0) & ~np.asarray(record.crowd, bool) & (box[:, 2:] > box[:, :2]).all(1)
            boxes.append(torch.from_numpy(box[keep]))
            labels.append(torch.from_numpy(own[keep]))
        categories = [record.label for record in batch.records]
        masks = [
            None if mask is None else torch.from_numpy(_on_canvas(mask, geometry))
            for mask, geometry in zip(batch.masks, batch.geometries, strict=False)
        ]
        present = [mask for mask in masks if mask is not None]
        return Targets(
            boxes=_padded(boxes, 0.0),
            labels=_padded(labels, -1),
            semantic=torch.stack(present) if present and len(present) == len(batch) else None,
            category=None if None in categories else torch.from_numpy(self._own[np.array(categories, np.int64)]),
            has_boxes=torch.tensor([bool(record.has_boxes) for record in batch.records]),
        )

    def update(self, predictions: Mapping[str, Tensor], batch: EvalBatch) -> None:
        """`predictions` are the loss terms of the batch, see `ModelPredictFn.with_losses`."""
        terms = dict(zip(predictions, torch.stack(list(predictions.values())).tolist(), strict=True))
        self._rows[batch.indices[0]] = (len(batch), terms)

    def metrics(self) -> dict[str, Any]:
        rows = list(self.rows.values())
        total = sum(count for count, _ in rows)
        found = sum(count * sum(terms.values()) for count, terms in rows)
        return {f"{self.name}{SUFFIX}": found / total if total else float("nan")}


def _on_canvas(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(h, w) uint8 classes in original pixels -> (H, W) in input pixels, nearest; 255 in the padding."""
    (y, x), (top, left) = geometry.scale, geometry.offset
    back = Geometry(geometry.canvas, geometry.original, (1 / y, 1 / x), (-top / y, -left / x))
    return restore_mask(mask, back)


def _padded(rows: list[Tensor], value: float) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
