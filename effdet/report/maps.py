"""The report's part on segmentation maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from effdet.drawing import draw
from effdet.evaluation.evaluators import SemanticEvaluator
from effdet.evaluation.segmentation import IGNORE
from effdet.html import Html, Section, figure, grid, heading, heat_map, image, section, table, tag, text
from effdet.report.gallery import Gallery
from effdet.report.numbers import interval_table, share_cell, span
from effdet.report.statistics import Interval, MapStatistic, Statistic

WORST, BEST = 6, 3
SIDE = 480
"""Pixels of a drawn image's longer side."""


class MapReport:
    """IoU by class, confusion of pixels, best and worst images of a segmenter."""

    headline = (("mIoU", "mIoU"), ("pixel_accuracy", "pixel accuracy"))

    def __init__(self, evaluator: SemanticEvaluator, head: str) -> None:
        self.evaluator, self.head = evaluator, head
        self.names = [str(name) for name in evaluator.classes.data.names]
        self.indices = list(evaluator.by_image)
        self.maps = MapStatistic.of(list(evaluator.by_image.values()), self.names)

    @property
    def statistic(self) -> Statistic:
        return self.maps

    @property
    def images(self) -> list[str]:
        return [str(index) for index in self.indices]

    def sections(
        self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval], gallery: Gallery | None
    ) -> list[Section]:
        """Its part of the page."""
        parts = [self._metrics(metrics, intervals), self._confusion()]
        if gallery is not None:
            parts.append(self._images(gallery))
        return parts

    def _metrics(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> Section:
        total = sum(metrics["pixels"].values()) or 1
        rows = [
            [name, f"{metrics['pixels'][name] / total:.2%}", share_cell(value), span(intervals.get(f"IoU {name}"))]
            for name, value in metrics["IoU"].items()
        ]
        return section(
            "Segmentation maps",
            interval_table((("mIoU", "mIoU"), ("pixel_accuracy", "pixel accuracy")), intervals),
            text("Intervals: bootstrap over images, 1000 samples, freed of bias.", soft=True),
            heading("By class"),
            table(["class", "share of pixels", "IoU", "95 % interval"], rows, limit=30),
        )

    def _confusion(self) -> Section:
        cells = self.evaluator.confusion.astype(float)
        if not cells[:, -1].any():
            cells = cells[:, :-1]
        total = cells.sum(1, keepdims=True)
        shares = np.divide(cells, total, out=np.full_like(cells, np.nan), where=total > 0)
        columns = self.names + ["(none of these)"] * (cells.shape[1] - len(self.names))
        return section(
            "Confusion of pixels",
            text("Rows: the true class. Columns: what its pixels were taken for, as shares of 1."),
            figure(
                heat_map(
                    shares,
                    self.names,
                    columns,
                    row_title="truth",
                    column_title="prediction",
                    bounds=(0, 1),
                    write=lambda value: f"{value:.2f}",
                    width=900,
                )
            ),
        )

    def _images(self, gallery: Gallery) -> Section:
        scores = self.maps.image_scores()
        order = [int(place) for place in np.argsort(scores, kind="stable") if not np.isnan(scores[place])]

        def drawn(places: list[int]) -> Html:
            return grid(*(self._figure(self.indices[place], scores[place], gallery) for place in places), least="22rem")

        return section(
            "Images with their segmentation maps",
            text("Above the truth, below it what was found. By mIoU of the image over the classes in it."),
            heading("Worst"),
            drawn(order[:WORST]),
            heading("Best"),
            drawn(order[::-1][:BEST]),
        )

    def _figure(self, index: int, score: float, gallery: Gallery) -> Html:
        pixels, name = gallery.image(index), gallery.file_name(index)
        truth = gallery.mask(index)
        found = np.asarray(self._found(gallery.predictions(index)))
        assert truth is not None, f"{name} was evaluated without a segmentation map"
        views = (
            image(_blended(pixels, classes, self.names), alt=f"{name}, {what}")
            for classes, what in ((truth, "truth"), (found, "found"))
        )
        return figure(tag("div", *views), f"{name}: mIoU {score:.3f}")

    def _found(self, predictions: Mapping[str, Any]) -> np.ndarray:
        """(H, W) map in the data's classes, 255 for none of them."""
        values = np.asarray(predictions[self.head][0])
        lookup = np.full(256, IGNORE, np.uint8)
        for own, theirs in enumerate(self.evaluator.classes.to_data):
            if theirs >= 0:
                lookup[own] = theirs
        return lookup[values]


def _blended(image: np.ndarray, classes: np.ndarray, names: list[str]) -> Image.Image:
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    reduced = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    small = np.asarray(Image.fromarray(classes.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
    return draw(reduced, semantic=small, semantic_names=names, alpha=0.6)
