"""How much of an image each class of its mask covers: a head of the user's own that learns from masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import nn

from effdet.evaluation.evaluators import RowEvaluator
from effdet.tasks import Kit


class ShareHead(nn.Module):
    in_levels = ("P5",)
    in_heads = ()

    def __init__(self, channels: dict[str, int], num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels["P5"], num_classes)

    def forward(self, features: Any, context: Any) -> Any:
        return self.layer(features["P5"].mean((2, 3)))  # (B, K)

    def loss(self, output: Any, targets: Any, context: Any) -> Any:
        counts = F.one_hot(targets.semantic.long(), 256).float().mean((1, 2))[:, : output.shape[1]]  # 255: ignored
        return {"share": F.cross_entropy(output.float(), counts)}

    def predict(self, output: Any, context: Any) -> Any:
        return output.float().softmax(1)


class ShareEvaluator(RowEvaluator):
    def update(self, predictions: Any, batch: Any) -> None:
        for index, mask, found in zip(batch.indices, batch.masks, predictions.tolist(), strict=True):
            true = np.bincount(mask.reshape(-1), minlength=256)[: len(found)] / mask.size
            self._rows[index] = 1 - np.abs(true - found).mean()

    def metrics(self) -> dict[str, float]:
        return {"share_fit": float(np.mean(list(self.rows.values())))}


class ShareKit(Kit):
    label = "semantic"
    metric = "share_fit"

    def __init__(self, name: str, digits: int = 3) -> None:
        super().__init__(name)
        self.digits = digits

    def evaluator(self, source: Any, classes: Any, *, backend: str = "pycocotools") -> ShareEvaluator:
        return ShareEvaluator()

    def fields(self, predicted: Any, row: int) -> dict[str, Any]:
        return {"shares": predicted[row].cpu().numpy()}

    def to_dict(self, prediction: Any) -> dict[str, Any]:
        return {"shares": [round(float(share), self.digits) for share in prediction.extra["shares"]]}
