"""The evaluation loop's judge of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.embedding import embedding_metrics


class EmbeddingEvaluator:
    """Verification and retrieval over the pictures that have a label; the labels need not be the model's."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._rows: dict[int, tuple[int, np.ndarray]] = {}
        """By index in the set: identity, (D,) float32."""

    def update(self, predictions: Tensor, batch: EvalBatch) -> None:
        values = predictions.float().cpu().numpy()
        for row, (index, record) in enumerate(zip(batch.indices, batch.records, strict=True)):
            if record.label is not None:
                self._rows[index] = (int(record.label), values[row])

    def state(self) -> Any:
        return self._rows

    def merge(self, states: Sequence[Any]) -> None:
        self._rows = {index: row for state in states for index, row in state.items()}

    def metrics(self) -> dict[str, Any]:
        rows = [self._rows[index] for index in sorted(self._rows)]
        labels = np.array([label for label, _ in rows], np.int64)
        values = np.array([value for _, value in rows], np.float32).reshape(len(rows), -1 if rows else 1)
        return embedding_metrics(values, labels)

    def results(self) -> list[dict[str, Any]]:
        return []
