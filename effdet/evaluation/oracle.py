"""The perfect predictor: the annotations themselves. What it does not score is lost to every model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from effdet.evaluation.batch import EvalBatch
from heads.structures import Detections


def truth_predict_fn(batch: EvalBatch) -> dict[str, Any]:
    """``{"detection": …, "semantic": …}``, in original pixels.

    Each picture's boxes that count (no crowds) as detections of score 1, and its mask as it is (one pixel where it has none).
    """
    kept = [~np.asarray(record.crowd, bool) for record in batch.records]
    counts = torch.tensor([int(keep.sum()) for keep in kept])
    longest = int(counts.max()) if len(counts) else 0
    boxes, labels = torch.zeros(len(batch), longest, 4), torch.full((len(batch), longest), -1)
    for row, (record, keep) in enumerate(zip(batch.records, kept, strict=True)):
        count = int(keep.sum())
        boxes[row, :count] = torch.from_numpy(np.asarray(record.boxes)[keep])
        labels[row, :count] = torch.from_numpy(np.asarray(record.labels)[keep])
    nothing = np.zeros((1, 1), np.uint8)
    return {
        "detection": Detections(boxes, (labels >= 0).float(), labels, counts),
        "semantic": [nothing if mask is None else mask for mask in batch.masks],
    }
