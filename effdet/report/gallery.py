"""The images of a split for the report: as they are stored, with their truth, and what the model finds in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.loop import PredictFn


class Gallery:
    """Reads images by their index in the set.

    Args:
        dataset: an `effdet.data.EvalSet`: items as the evaluation loop takes them, and a `source` that reads images.
        predict_fn: makes the function that the loop called; it is asked for once, and only where predictions were not kept.
    """

    def __init__(self, dataset: Any, predict_fn: Callable[[], PredictFn]) -> None:
        self.dataset = dataset
        self._make = predict_fn
        self._predict: PredictFn | None = None

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB in original pixels."""
        source = self.dataset.source
        return source.read_image(source.records[index])

    def mask(self, index: int) -> np.ndarray | None:
        """(H, W) uint8 true segmentation map in original pixels, 255 where ignored."""
        source = self.dataset.source
        return source.read_mask(source.records[index])

    def file_name(self, index: int) -> str:
        return self.dataset.source.records[index].file_name

    def predictions(self, index: int) -> Mapping[str, Any]:
        """What each head finds, in original pixels."""
        if self._predict is None:
            self._predict = self._make()
        return self._predict(EvalBatch.of([(index, self.dataset[index])]))
