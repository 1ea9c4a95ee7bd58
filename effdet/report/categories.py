"""The report's part on whole images' classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from effdet.evaluation.calibration import BINS
from effdet.evaluation.classification import confusion, first_class, ranks
from effdet.evaluation.evaluators import ClassificationEvaluator
from effdet.html import Html, Section, details, figure, grid, heading, heat_map, image, line_chart, section, table, text
from effdet.report.gallery import Gallery
from effdet.report.numbers import interval_table, share_cell
from effdet.report.statistics import ClassStatistic, Interval, Statistic

WORST, BEST = 18, 6
MATRIX_CLASSES = 80
"""Rows of the confusion matrix; of more classes those with most mistakes."""
MOST_PAIRS = 15
SIDE = 160
"""Pixels of a drawn image's longer side."""
MOST_ENLARGED = 4.0
"""Times that a small image is enlarged."""


class CategoryReport:
    """Accuracy and confusion of classes, calibration, and the images that went most wrong."""

    headline = (("top1", "top-1"), ("top5", "top-5"))

    def __init__(self, evaluator: ClassificationEvaluator) -> None:
        self.names = [str(name) for name in evaluator.classes.data.names]
        rows = evaluator.rows
        self.indices = list(rows)
        self.labels = np.array([label for label, _ in rows.values()], np.int64)
        self.scores = np.array([scores for _, scores in rows.values()], np.float32)
        """(N, K) probabilities."""
        self.found = first_class(self.scores)
        self.statistic: Statistic = ClassStatistic(ranks(self.scores, self.labels), self.labels)

    @property
    def images(self) -> list[str]:
        return [str(index) for index in self.indices]

    def sections(
        self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval], gallery: Gallery | None
    ) -> list[Section]:
        """Its part of the page."""
        parts = [self._metrics(metrics, intervals), self._confusion(), self._calibration(metrics)]
        if gallery is not None:
            parts.append(self._images(gallery))
        return parts

    def _metrics(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> Section:
        counts = np.bincount(self.labels, minlength=len(self.names))
        accuracy, precision = metrics["accuracy"], metrics.get("precision", {})
        rows = [
            [name, int(counts[self.names.index(name)]), share_cell(value), share_cell(precision.get(name))]
            for name, value in sorted(accuracy.items(), key=lambda entry: entry[1])
        ]
        return section(
            "Classes",
            interval_table((("top1", "top-1"), ("top5", "top-5")), intervals),
            text("Intervals: bootstrap over images, 1000 samples, freed of bias.", soft=True),
            heading("By class, the worst first"),
            table(["class", "images", "accuracy", "precision"], rows, limit=30),
        )

    def _confusion(self) -> Section:
        cells = confusion(self.found, self.labels, len(self.names))
        off = cells.copy()
        np.fill_diagonal(off, 0)
        # Of many classes those with most mistakes, however they are spread.
        kept = np.sort(np.argsort(-(off.sum(0) + off.sum(1)), kind="stable")[:MATRIX_CLASSES])
        total = cells.sum(1, keepdims=True)
        shares = np.divide(cells, total, out=np.full(cells.shape, np.nan), where=total > 0)[np.ix_(kept, kept)]
        names = [self.names[label] for label in kept]
        order = np.argsort(-off, axis=None, kind="stable")[:MOST_PAIRS]
        pairs = [
            [self.names[row], self.names[column], int(off[row, column]), f"{off[row, column] / total[row, 0]:.1%}"]
            for row, column in zip(*np.unravel_index(order, off.shape), strict=True)
            if off[row, column]
        ]
        return section(
            "Confusion of classes",
            text("Rows: the true class. Columns: what it was taken for, as shares of 1."),
            figure(
                heat_map(
                    shares,
                    names,
                    names,
                    row_title="truth",
                    column_title="prediction",
                    bounds=(0, 1),
                    write=lambda value: f"{value:.2f}",
                    width=900,
                )
            ),
            details("Pairs most often confused", table(["truth", "taken for", "images", "of this class"], pairs))
            if pairs
            else None,
        )

    def _calibration(self, metrics: Mapping[str, Any]) -> Section:
        sure = self.scores.max(1)
        right = self.found == self.labels
        place = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
        points = [
            (float(sure[place == number].mean()), float(right[place == number].mean()))
            for number in range(BINS)
            if (place == number).any()
        ]
        return section(
            "Calibration",
            text(
                f"Expected calibration error {metrics['ECE']:.3f} (Guo et al. 2017). Points below the line: the model is surer "
                "than it is right."
                if "ECE" in metrics
                else "Points below the line: the model is surer than it is right."
            ),
            figure(
                line_chart(
                    {"as sure as right": [(0.0, 0.0), (1.0, 1.0)], "images by confidence": points},
                    title="Accuracy by confidence",
                    x_label="confidence",
                    y_label="accuracy",
                    x_bounds=(0, 1),
                    y_bounds=(0, 1),
                    marks="both",
                    width=460,
                    height=420,
                )
            ),
        )

    def _images(self, gallery: Gallery) -> Section:
        own = self.scores[np.arange(len(self.labels)), self.labels]
        order = [int(row) for row in np.argsort(own, kind="stable") if self.found[row] != self.labels[row]]

        def drawn(rows: list[int]) -> Html:
            return grid(*(self._figure(row, gallery) for row in rows), least="10rem")

        best = [int(row) for row in np.argsort(-own, kind="stable") if self.found[row] == self.labels[row]][:BEST]
        return section(
            "Images by their class",
            heading("Worst: the true class was least expected"),
            drawn(order[:WORST]) if order else text("Every image's class was found."),
            heading("Best"),
            drawn(best) if best else text("No image's class was found."),
        )

    def _figure(self, row: int, gallery: Gallery) -> Html:
        index, label, found = self.indices[row], self.labels[row], self.found[row]
        said = f"{self.names[label]} {self.scores[row, label]:.2f}"
        if found != label:
            said += f", taken for {self.names[found]} {self.scores[row, found]:.2f}"
        pixels = Image.fromarray(gallery.image(index))
        scale = min(MOST_ENLARGED, SIDE / max(pixels.size))
        size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        return figure(
            image(
                pixels.resize(size, Image.Resampling.BICUBIC), alt=f"{gallery.file_name(index)}: {said}", longest=SIDE
            ),
            f"{said}; {gallery.file_name(index)}",
        )
