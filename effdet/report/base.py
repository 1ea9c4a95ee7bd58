"""What the parts of ``report.html`` are made of: their protocol, the images of a split, and the sections that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.loop import PredictFn
from effdet.evaluation.segmentation import ratio
from effdet.evaluation.tables import number
from effdet.html import (
    Html,
    Section,
    cards,
    details,
    figure,
    grid,
    heading,
    heat_map,
    image,
    meter,
    section,
    table,
    tag,
    text,
)
from effdet.report.statistics.bootstrap import Interval, Statistic

MATRIX_CLASSES = 80
"""Rows of a confusion matrix; what is left out of more classes is for each head to say."""
MOST_PAIRS = 15
SIDE = 480
"""Pixels of a drawn image's longer side."""
RESAMPLED = "Intervals: bootstrap over images, 1000 samples, freed of bias."
Row = TypeVar("Row")


class HeadReport(Protocol):
    """What one head's evaluator found, ready to be written down."""

    headline: tuple[tuple[str, str], ...]
    """(metric, name) of the key figures at the top of the page."""

    @property
    def statistic(self) -> Statistic:
        """Its metrics as a function of how often each image counts."""
        ...

    @property
    def images(self) -> list[str]:
        """Names of the images, in the order of `statistic`: those of two evaluations must agree to compare them."""
        ...

    def sections(
        self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval], gallery: Gallery | None
    ) -> list[Section]:
        """Its part of the page; no images without a `gallery`."""
        ...


class ImageReport(HeadReport, Protocol):
    """Base of the built-in reports: numbers first, then the images done worst and best."""

    indices: list[int]
    """Index in the set of each image, in the order of `statistic`."""

    @property
    def images(self) -> list[str]:
        return [str(index) for index in self.indices]

    def sections(
        self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval], gallery: Gallery | None
    ) -> list[Section]:
        parts = self.number_sections(metrics, intervals)
        return parts if gallery is None else [*parts, self.image_section(gallery)]

    def number_sections(self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval]) -> list[Section]: ...

    def image_section(self, gallery: Gallery) -> Section: ...


class Gallery:
    """The images of a split as they are stored, with their truth, and what the model finds in them.

    Args:
        dataset: an `effdet.data.EvalSet`: items as the evaluation loop takes them, and a `source` that reads images.
        predict_fn: makes the function that the loop called; it is asked for once, and only where predictions were not kept.
    """

    def __init__(self, dataset: Any, predict_fn: Callable[[], PredictFn]) -> None:
        self.dataset = dataset
        self._make = predict_fn
        self._predict: PredictFn | None = None

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB in original pixels, by index in the set."""
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


def row_shares(counts: np.ndarray) -> np.ndarray:
    """(R, C) counts -> (R, C) float64: each row as shares of 1, NaN where it is empty."""
    return ratio(counts, np.broadcast_to(counts.sum(1, keepdims=True), counts.shape))


def share_matrix(shares: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Html:
    """A heat map of :func:`row_shares`, truth by prediction."""
    return figure(
        heat_map(
            shares,
            rows,
            columns,
            row_title="truth",
            column_title="prediction",
            bounds=(0, 1),
            write=lambda value: f"{value:.2f}",
            width=900,
        )
    )


def confused_pairs(
    title: str, counts: np.ndarray, names: Sequence[str], totals: np.ndarray, *, unit: str
) -> Html | None:
    """The pairs of classes most often confused; None where there are none.

    Args:
        counts: (K, K) int64, rows = truth.
        names: K names.
        totals: (K,) what there is of each class, found or not.
    """
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [
        [names[row], names[column], int(off[row, column]), f"{off[row, column] / totals[row]:.1%}"]
        for row, column in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[row, column]
    ]
    return details(title, table(["truth", "taken for", unit, "of this class"], pairs)) if pairs else None


def worst_and_best(
    title: str,
    note: str | None,
    groups: Sequence[tuple[str, Sequence[Row], str | None]],
    draw: Callable[[Row], Html],
    *,
    least: str = "22rem",
) -> Section:
    """Images under headings.

    Args:
        groups: heading, what `draw` takes for each image, and the text where there are none (None: an empty grid).
    """
    parts: list[Html] = [] if note is None else [text(note)]
    for name, rows, none in groups:
        parts += [heading(name), grid(*map(draw, rows), least=least) if rows or none is None else text(none)]
    return section(title, *parts)


def fitted(pixels: np.ndarray, *, side: int = SIDE, most: float) -> tuple[Image.Image, float]:
    """(H, W, 3) uint8 with `side` pixels on its longer side, but never enlarged by more than `most`; and the scale."""
    whole = Image.fromarray(pixels)
    scale = min(most, side / max(whole.size))
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return whole.resize(size, Image.Resampling.BICUBIC), scale


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points at equal steps, and the last one."""
    step = max(-(-len(points) // most), 1)
    return [*points[::step], *(points[-1:] if (len(points) - 1) % step else [])]


def truth_and_found(name: str, truth: Image.Image, found: Image.Image, caption: str) -> Html:
    """Two drawings of the image `name`, one above the other."""
    views = (image(view, alt=f"{name}, {what}") for view, what in ((truth, "truth"), (found, "found")))
    return figure(tag("div", *views), f"{name}: {caption}")


def signed(value: float) -> str:
    """Three digits behind a sign; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:+.3f}"


def span(interval: Interval | None) -> str:
    """``.271 … .325``."""
    if interval is None or math.isnan(interval.low):
        return "–"
    return f"{interval.low:.3f} … {interval.high:.3f}"


def key_figures(headline: Sequence[tuple[str, str]], intervals: Mapping[str, Interval]) -> Html:
    """Cards: values with their intervals below."""
    known = [(name, intervals[metric]) for metric, name in headline if metric in intervals]
    return cards(*((f"{name} ({span(interval)})", number(interval.value)) for name, interval in known))


def interval_table(rows: Sequence[tuple[str, str]], intervals: Mapping[str, Interval]) -> Html:
    """One row a metric: ``(key, name)``, its value and its 95 % interval."""
    known = [(key, name) for key, name in rows if key in intervals]
    return table(
        ["metric", "value", "95 % interval"],
        [[name, number(intervals[key].value), span(intervals[key])] for key, name in known],
    )


def share_cell(value: float | None) -> Html | None:
    """A share of 0…1 as a small bar with three digits."""
    if value is None or math.isnan(value) or value < 0:
        return None
    return meter(value, label=f"{value:.3f}")
