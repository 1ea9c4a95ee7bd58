"""A head that counts objects, and its kit: neither is known to the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor, nn

from effdet.evaluation.evaluators import RowEvaluator
from effdet.html import section, table
from effdet.report import HeadReport
from effdet.report.statistics.samples import MeanStatistic
from effdet.tasks import Kit, Target
from heads.protocol import Context
from heads.structures import Targets


class CountHead(nn.Module):
    """One number an image, from the mean of C5; the raw output is ``{"count": (B,), "spread": (B,)}``."""

    in_levels = ("C5",)
    in_heads = ()

    def __init__(self, channels: Mapping[str, int], num_classes: int, *, weight: float = 1.0) -> None:
        super().__init__()
        self.linear, self.weight = nn.Linear(channels["C5"], 2), weight

    def forward(self, features: Mapping[str, Tensor], context: Context) -> dict[str, Tensor]:
        count, spread = self.linear(features["C5"].mean((2, 3))).unbind(1)
        return {"count": count, "spread": spread}

    def loss(self, output: dict[str, Tensor], targets: Targets, context: Context) -> dict[str, Tensor]:
        assert targets.labels is not None
        error = output["count"].float() - (targets.labels >= 0).sum(1)
        return {"squared": self.weight * (error.square().mean() + 0 * output["spread"].float().sum())}

    def predict(self, output: dict[str, Tensor], context: Context) -> Tensor:
        return output["count"].float()


class CountEvaluator(RowEvaluator[tuple[float, int]]):
    """A row: counted, true."""

    def update(self, predictions: Tensor, batch: Any) -> None:
        for index, found, record in zip(batch.indices, predictions.tolist(), batch.records, strict=True):
            self._rows[index] = (found, len(record.labels))

    def metrics(self) -> dict[str, Any]:
        return {"count_near": float(np.mean([abs(found - true) < 1 for found, true in self.rows.values()]))}


class CountReport(HeadReport):
    headline = (("count_near", "counts within 1"),)

    def __init__(self, evaluator: CountEvaluator) -> None:
        self.rows = evaluator.rows

    @property
    def statistic(self) -> MeanStatistic:
        near = np.array([abs(found - true) < 1 for found, true in self.rows.values()], float)
        return MeanStatistic(("count_near",), near[:, None])

    @property
    def images(self) -> list[str]:
        return [str(index) for index in self.rows]

    def sections(self, metrics: Any, intervals: Any, gallery: Any) -> list[Any]:
        return [section("Counts", table(["counted", "true"], [[f"{a:.1f}", b] for a, b in self.rows.values()]))]


class CountKit(Kit):
    label = "boxes"
    metric = "count_near"

    def evaluator(self, source: Any, classes: Any, *, backend: str = "pycocotools") -> CountEvaluator:
        return CountEvaluator()

    def report(self, evaluator: CountEvaluator) -> CountReport:
        return CountReport(evaluator)

    def fields(self, predicted: Tensor, row: int) -> dict[str, Any]:
        return {"count": float(predicted[row])}

    def to_dict(self, prediction: Any) -> dict[str, Any]:
        return {"count": round(prediction.extra["count"], 3)}

    def paint(self, image: Image.Image, prediction: Any) -> Image.Image:
        ImageDraw.Draw(image).rectangle((0, 0, 3, 3), fill=(1, 2, 3))
        return image

    def explained(self, head: Any, output: Any, classes: Any, *, most: int, score: float) -> list[Target]:
        return [Target("count", 1.0, lambda outputs: outputs[self.name]["count"][0])]
