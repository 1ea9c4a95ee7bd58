"""The report's part on whole images' classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from effdet.evaluation.classification import BINS, confusion, first_class, ranks
from effdet.evaluation.evaluators import ClassificationEvaluator
from effdet.html import Html, Section, figure, heading, image, line_chart, section, table, text
from effdet.report.base import (
    MATRIX_CLASSES,
    RESAMPLED,
    Gallery,
    ImageReport,
    confused_pairs,
    fitted,
    interval_table,
    row_shares,
    share_cell,
    share_matrix,
    worst_and_best,
)
from effdet.report.statistics.bootstrap import Interval
from effdet.report.statistics.samples import ClassStatistic

WORST, BEST = 18, 6
SIDE = 160
"""Pixels of a drawn image's longer side."""
MOST_ENLARGED = 4.0
"""Times that a small image is enlarged."""


class CategoryReport(ImageReport):
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
        self._statistic = ClassStatistic(ranks(self.scores, self.labels), self.labels)

    @property
    def statistic(self) -> ClassStatistic:
        return self._statistic

    def number_sections(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> list[Section]:
        return [self._metrics(metrics, intervals), self._confusion(), self._calibration(metrics)]

    def _metrics(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> Section:
        counts = np.bincount(self.labels, minlength=len(self.names))
        accuracy, precision = metrics["accuracy"], metrics.get("precision", {})
        rows = [
            [name, int(counts[self.names.index(name)]), share_cell(value), share_cell(precision.get(name))]
            for name, value in sorted(accuracy.items(), key=lambda entry: entry[1])
        ]
        return section(
            "Classes",
            interval_table(self.headline, intervals),
            text(RESAMPLED, soft=True),
            heading("By class, the worst first"),
            table(["class", "images", "accuracy", "precision"], rows, limit=30),
        )

    def _confusion(self) -> Section:
        cells = confusion(self.found, self.labels, len(self.names))
        off = cells.copy()
        np.fill_diagonal(off, 0)
        # Of many classes those with most mistakes, however they are spread.
        kept = np.sort(np.argsort(-(off.sum(0) + off.sum(1)), kind="stable")[:MATRIX_CLASSES])
        names = [self.names[label] for label in kept]
        return section(
            "Confusion of classes",
            text("Rows: the true class. Columns: what it was taken for, as shares of 1."),
            share_matrix(row_shares(cells)[np.ix_(kept, kept)], names, names),
            confused_pairs("Pairs most often confused", cells, self.names, cells.sum(1), unit="images"),
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

    def image_section(self, gallery: Gallery) -> Section:
        own = self.scores[np.arange(len(self.labels)), self.labels]
        right = self.found == self.labels
        worst = [int(row) for row in np.argsort(own, kind="stable") if not right[row]][:WORST]
        best = [int(row) for row in np.argsort(-own, kind="stable") if right[row]][:BEST]
        groups = [
            ("Worst: the true class was least expected", worst, "Every image's class was found."),
            ("Best", best, "No image's class was found."),
        ]
        return worst_and_best(
            "Images by their class", None, groups, lambda row: self._figure(row, gallery), least="10rem"
        )

    def _figure(self, row: int, gallery: Gallery) -> Html:
        index, label, found = self.indices[row], self.labels[row], self.found[row]
        said = f"{self.names[label]} {self.scores[row, label]:.2f}"
        if found != label:
            said += f", taken for {self.names[found]} {self.scores[row, found]:.2f}"
        pixels, _ = fitted(gallery.image(index), side=SIDE, most=MOST_ENLARGED)
        name = gallery.file_name(index)
        return figure(image(pixels, alt=f"{name}: {said}", longest=SIDE), f"{said}; {name}")
