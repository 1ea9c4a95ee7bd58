"""The report's part on boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from effdet.drawing import draw
from effdet.evaluation.coco import COCO_KEYS
from effdet.evaluation.evaluators import DetectionEvaluator
from effdet.evaluation.tables import number
from effdet.html import Html, Section, bar_chart, figure, grid, heading, line_chart, section, table, text
from effdet.report.base import (
    MATRIX_CLASSES,
    Gallery,
    ImageReport,
    confused_pairs,
    fitted,
    row_shares,
    share_cell,
    share_matrix,
    span,
    thinned,
    truth_and_found,
    worst_and_best,
)
from effdet.report.statistics.bootstrap import Interval
from effdet.report.statistics.boxes import BoxSet, detection_confusion, image_scores, match, matches_of
from effdet.report.statistics.errors import KINDS, MEANINGS, error_breakdown
from effdet.report.statistics.precision import THRESHOLDS, ClassCurve, best_threshold, class_curves, mean_f1
from effdet.report.statistics.samples import BoxStatistic

CURVES = 7
"""Classes that have a curve each: more are not distinguished."""
WORST, BEST = 8, 4
MOST_ENLARGED = 2.0
"""Times that a small image is enlarged, so that its labels have room."""
RIGHT, WRONG, MISSED = (38, 166, 91), (222, 49, 73), (240, 150, 20)
_MEANINGS = {
    "AP": "mean over IoU .50 … .95",
    "AP50": "IoU .50",
    "AP75": "IoU .75",
    "APs": "boxes under 32² pixels",
    "APm": "32² … 96²",
    "APl": "over 96²",
    "AR1": "recall with 1 detection an image",
    "AR10": "with 10",
    "AR100": "with 100",
    "ARs": "of boxes under 32² pixels",
    "ARm": "32² … 96²",
    "ARl": "over 96²",
}


class BoxReport(ImageReport):
    """Metrics, thresholds, confusion, kinds of mistakes, best and worst images of a detector."""

    headline = (("AP", "AP"), ("AP50", "AP50"), ("AP75", "AP75"))

    def __init__(self, evaluator: DetectionEvaluator) -> None:
        self.boxes = BoxSet.of(evaluator.evaluated_truth, evaluator.results())
        self.matches = match(self.boxes) if evaluator.pairs is None else matches_of(self.boxes, evaluator.pairs)
        self.curves = class_curves(self.matches)
        self.threshold = best_threshold(self.curves)
        own = {image_id: index for index, image_id in evaluator.image_ids.items()}
        self.indices = [own[image_id] for image_id in self.boxes.image_ids]

    @property
    def statistic(self) -> BoxStatistic:
        return BoxStatistic(self.matches)

    @property
    def images(self) -> list[str]:
        return [str(image_id) for image_id in self.boxes.image_ids]

    def number_sections(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> list[Section]:
        return [self._metrics(metrics, intervals), self._thresholds(), self._confusion(), self._mistakes()]

    def _metrics(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> Section:
        numbers = [
            [key, _MEANINGS[key], number(metrics[key]), span(intervals.get(key))] for key in COCO_KEYS if key in metrics
        ]
        rows = []
        for curve in self.curves:
            interval = intervals.get(f"AP {curve.name}")
            found = metrics["per_class"].get(curve.name, {})
            rows.append(
                [
                    curve.name,
                    curve.boxes,
                    share_cell(found.get("AP")),
                    span(interval),
                    number(found.get("AP50")),
                    *_at_best(curve),
                ]
            )
        columns = ["class", "true boxes", "AP", "95 % interval", "AP50", "best threshold", "precision", "recall", "F1"]
        return section(
            "Boxes",
            table(["", "", "value", "95 % interval"], numbers),
            text(
                "Intervals: bootstrap over images, 1000 samples, freed of bias; how far the number would move had other "
                "images of the same kind been drawn. Where most classes have few boxes, the number itself is rather too high "
                "and the interval rather too narrow. Sizes and recalls have none.",
                soft=True,
            ),
            heading("By class"),
            table(columns, sorted(rows, key=lambda row: -row[1]), limit=25),
            text("The last four columns: the score threshold of highest F1 for each class, at IoU .5.", soft=True),
        )

    def _thresholds(self) -> Section:
        mean = mean_f1(self.curves)
        measured = sorted((curve for curve in self.curves if curve.boxes), key=lambda curve: -curve.boxes)
        precision_of = {"mean of classes": _mean_precision(measured)}
        f1_of = {"mean of classes": list(zip(THRESHOLDS.tolist(), mean.tolist(), strict=True))}
        for curve in measured[:CURVES]:
            precision_of[curve.name] = thinned([(0.0, 1.0), *zip(curve.recall, curve.precision, strict=True)], 300)
            f1_of[curve.name] = list(zip(THRESHOLDS.tolist(), curve.at(THRESHOLDS)[2].tolist(), strict=True))
        best = float(mean.max(initial=0))
        return section(
            "Precision, recall and F1",
            text(
                f"One threshold for all classes: score_threshold={self.threshold:.3g} has the highest "
                f"mean F1, {best:.3f}. All at IoU .5"
                + (
                    f"; the {CURVES} most frequent classes have a curve of their own."
                    if len(measured) > CURVES
                    else "."
                )
            ),
            grid(
                _unit_chart(precision_of, "Precision by recall", "recall", "precision"),
                _unit_chart(f1_of, "F1 by score threshold", "score threshold", "F1"),
                least="24rem",
            ),
        )

    def _confusion(self) -> Section:
        matrix = detection_confusion(self.boxes, self.matches, score=self.threshold)
        kept = [label for label, curve in enumerate(self.curves) if curve.boxes or matrix[:, label].any()]
        kept = sorted(sorted(kept, key=lambda label: -matrix[label].sum())[:MATRIX_CLASSES])  # the most frequent
        shares = row_shares(matrix[np.ix_([*kept, -1], [*kept, -1])])
        names = [self.curves[label].name for label in kept]
        title, known = "Classes most often taken for another", [curve.name for curve in self.curves]
        return section(
            "Confusion",
            text(
                f"Rows: what is there. Columns: what it was taken for, at score {self.threshold:.3g} and more. Each row as "
                "shares of 1: the diagonal is recall, the last column what was missed; the last row shows what was seen "
                "where nothing is."
            ),
            share_matrix(shares, [*names, "(nothing)"], [*names, "(missed)"]),
            confused_pairs(title, matrix[:-1, :-1], known, matrix[:-1].sum(1), unit="boxes"),
        )

    def _mistakes(self) -> Section:
        found = error_breakdown(self.boxes, self.matches)
        rows = [[kind, MEANINGS[kind], found.counts[kind], f"{found.cost[kind]:+.3f}"] for kind in KINDS]
        rows.append(
            ["false positives", "all that is wrong among the detections", None, f"{found.false_positives:+.3f}"]
        )
        rows.append(["false negatives", "all that is missing from them", None, f"{found.false_negatives:+.3f}"])
        costs = [round(max(found.cost[kind], 0.0), 3) for kind in KINDS]
        return section(
            "Mistakes",
            text(
                f"AP50 is {found.ap50:.3f}. Each line says what it would gain were all mistakes of one kind mended and nothing "
                "else (TIDE, Bolya et al. 2020): the longest bar is what to work on. Gains don't add up."
            ),
            figure(
                bar_chart(
                    [f"{kind}: {MEANINGS[kind]}" for kind in KINDS], {"AP50 gained": costs}, x_label="AP50 gained"
                )
            ),
            table(["kind", "", "count", "AP50 gained"], rows),
        )

    def image_section(self, gallery: Gallery) -> Section:
        """Truth above, detections below, coloured by right, wrong and missed."""
        scores = image_scores(self.matches, score=self.threshold)

        def drawn(index: int) -> Html:
            name = gallery.file_name(self.indices[index])
            counts = f"{scores.right[index]} right, {scores.wrong[index]} wrong, {scores.missed[index]} missed"
            views = self._views(index, gallery.image(self.indices[index]))
            return truth_and_found(name, *views, f"F1 {scores.f1[index]:.2f}; {counts}")

        note = (
            "Above the truth (green where found, orange where missed), below it what was found at score "
            f"{self.threshold:.3g} and more (green where right, red where wrong). By F1 of the image."
        )
        worst = ("Worst", scores.worst(WORST), "No image has a mistake.")
        return worst_and_best("Images", note, [worst, ("Best", scores.best(BEST), "Nothing was found.")], drawn)

    def _views(self, index: int, pixels: np.ndarray) -> tuple[Image.Image, Image.Image]:
        """Of the image number `index` of `boxes`: truth and detections."""
        boxes, matches = self.boxes, self.matches
        reduced, scale = fitted(pixels, most=MOST_ENLARGED)
        true = np.flatnonzero((boxes.true_image == index) & ~boxes.crowd)
        shown = np.flatnonzero((boxes.image == index) & matches.counted & (boxes.score >= self.threshold))
        names = [boxes.names[label] for label in boxes.true_label[true]]
        scored = [f"{boxes.names[boxes.label[row]]} {boxes.score[row]:.2f}" for row in shown]
        return (
            _marked(reduced, boxes.true_box[true] * scale, names, np.isin(true, matches.truth[shown]), MISSED),
            _marked(reduced, boxes.box[shown] * scale, scored, matches.hit[0, shown], WRONG),
        )


def _marked(
    image: Image.Image, boxes: np.ndarray, names: list[str], good: np.ndarray, other: tuple[int, int, int]
) -> Image.Image:
    """Boxes (n, 4) xywh with their names, green where `good`."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    palette = [RIGHT if is_good else other for is_good in good]
    return draw(image, corners, np.arange(len(names)), names=names, palette=palette)


def _at_best(curve: ClassCurve) -> list[str]:
    """Threshold, precision, recall and F1 where F1 is highest."""
    place = curve.best
    if place is None:
        return ["–"] * 4
    return [number(float(values[place])) for values in (curve.score, curve.precision, curve.recall, curve.f1)]


def _unit_chart(curves: Mapping[str, list[tuple[float, float]]], title: str, x_label: str, y_label: str) -> Html:
    """Curves of shares by shares."""
    return figure(
        line_chart(
            curves,
            title=title,
            x_label=x_label,
            y_label=y_label,
            x_bounds=(0, 1),
            y_bounds=(0, 1),
            width=560,
            height=380,
        )
    )


def _mean_precision(curves: list[ClassCurve]) -> list[tuple[float, float]]:
    """Best precision at each of 101 recalls or above, averaged over classes: the area under it is AP50."""
    recalls = np.linspace(0, 1, 101)
    total = np.zeros(101)
    for curve in curves:
        best = np.append(np.maximum.accumulate(curve.precision[::-1])[::-1], 0.0)
        total += best[np.searchsorted(curve.recall, recalls, side="left")]
    return list(zip(recalls.tolist(), (total / max(len(curves), 1)).tolist(), strict=True))
