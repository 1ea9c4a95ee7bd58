"""The evaluation loop's evaluate of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.embedding import embedding_metrics
from effdet.evaluation.evaluators import RowEvaluator


class EmbeddingEvaluator(RowEvaluator[tuple[int, np.ndarray]]):
    """Verification and retrieval over the images that have a label; the labels need not be the model's.

    A row: identity, (D,) float32.
    """

    def update(self, predictions: Tensor, batch: EvalBatch) -> None:
        values = predictions.float().cpu().numpy()
        for row, (index, record) in enumerate(zip(batch.indices, batch.records, strict=True)):
            if record.label is not None:
                self._rows[index] = (int(record.label), values[row])

    def metrics(self) -> dict[str, Any]:
        rows = list(self.rows.values())
        labels = np.array([label for label, _ in rows], np.int64)
        values = np.array([value for _, value in rows], np.float32).reshape(len(rows), -1 if rows else 1)
        return embedding_metrics(values, labels)
