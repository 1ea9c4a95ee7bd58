"""The report's part on segmentation maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from effdet.drawing import draw
from effdet.evaluation.evaluators import SemanticEvaluator
from effdet.evaluation.segmentation import IGNORE
from effdet.html import Html, Section, heading, section, table, text
from effdet.report.base import (
    RESAMPLED,
    Gallery,
    ImageReport,
    fitted,
    interval_table,
    row_shares,
    share_cell,
    share_matrix,
    span,
    truth_and_found,
    worst_and_best,
)
from effdet.report.statistics.bootstrap import Interval
from effdet.report.statistics.samples import MapStatistic

WORST, BEST = 6, 3


class MapReport(ImageReport):
    """IoU by class, confusion of pixels, best and worst images of a segmenter."""

    headline = (("mIoU", "mIoU"), ("pixel_accuracy", "pixel accuracy"))

    def __init__(self, evaluator: SemanticEvaluator, head: str) -> None:
        self.evaluator, self.head = evaluator, head
        self.names = [str(name) for name in evaluator.classes.data.names]
        self.indices = list(evaluator.by_image)
        self.maps = MapStatistic.of(list(evaluator.by_image.values()), self.names)

    @property
    def statistic(self) -> MapStatistic:
        return self.maps

    def number_sections(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> list[Section]:
        return [self._metrics(metrics, intervals), self._confusion()]

    def _metrics(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> Section:
        total = sum(metrics["pixels"].values()) or 1
        rows = [
            [name, f"{metrics['pixels'][name] / total:.2%}", share_cell(value), span(intervals.get(f"IoU {name}"))]
            for name, value in metrics["IoU"].items()
        ]
        return section(
            "Segmentation maps",
            interval_table(self.headline, intervals),
            text(RESAMPLED, soft=True),
            heading("By class"),
            table(["class", "share of pixels", "IoU", "95 % interval"], rows, limit=30),
        )

    def _confusion(self) -> Section:
        cells = self.evaluator.confusion
        if not cells[:, -1].any():
            cells = cells[:, :-1]
        columns = self.names + ["(none of these)"] * (cells.shape[1] - len(self.names))
        return section(
            "Confusion of pixels",
            text("Rows: the true class. Columns: what its pixels were taken for, as shares of 1."),
            share_matrix(row_shares(cells), self.names, columns),
        )

    def image_section(self, gallery: Gallery) -> Section:
        scores = self.maps.image_scores()
        order = [int(place) for place in np.argsort(scores, kind="stable") if not np.isnan(scores[place])]

        def drawn(place: int) -> Html:
            index = self.indices[place]
            pixels, name, truth = gallery.image(index), gallery.file_name(index), gallery.mask(index)
            assert truth is not None, f"{name} was evaluated without a segmentation map"
            found = self._found(gallery.predictions(index))
            return truth_and_found(
                name, self._view(pixels, truth), self._view(pixels, found), f"mIoU {scores[place]:.3f}"
            )

        return worst_and_best(
            "Images with their segmentation maps",
            "Above the truth, below it what was found. By mIoU of the image over the classes in it.",
            [("Worst", order[:WORST], None), ("Best", order[::-1][:BEST], None)],
            drawn,
        )

    def _view(self, pixels: np.ndarray, classes: np.ndarray) -> Image.Image:
        """An image under its map, (H, W) integers."""
        reduced, _ = fitted(pixels, most=1.0)
        small = Image.fromarray(classes.astype(np.uint8)).resize(reduced.size, Image.Resampling.NEAREST)
        return draw(reduced, semantic=np.asarray(small), semantic_names=self.names, alpha=0.6)

    def _found(self, predictions: Mapping[str, Any]) -> np.ndarray:
        """(H, W) map in the data's classes, 255 for none of them."""
        values = np.asarray(predictions[self.head][0])
        lookup = np.full(256, IGNORE, np.uint8)
        for own, theirs in enumerate(self.evaluator.classes.to_data):
            if theirs >= 0:
                lookup[own] = theirs
        return lookup[values]
