"""The page of ``effdet compare``: two evaluations side by side, and how sure the difference is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from effdet.evaluation.report.numbers import written
from effdet.evaluation.statistics import Difference
from effdet.html import Html, Page, Tone, badge, line_chart, section, table, text

MAIN = ("AP", "AP50", "AP75", "mIoU", "pixel_accuracy", "top1", "top5")
"""Metrics over all classes; others are a class's own."""


def verdict(difference: Difference) -> tuple[str, Tone | None]:
    """In a word: whether the interval of the difference leaves out 0, and on which side it lies."""
    if math.isnan(difference.low):
        return "not measured", None
    if difference.low > 0:
        return "B is better", "good"
    if difference.high < 0:
        return "A is better", "error"
    return "no clear difference", None


def comparison_page(
    names: tuple[str, str],
    split: str,
    differences: Mapping[str, Difference],
    *,
    pictures: int,
    samples: int,
    level: float,
) -> Page:
    """The page.

    Args:
        names: of A and B, usually their folders.
        split: of the data that both were measured on, in words.
        differences: B - A by metric.
        pictures: number of pictures.
        samples: of the bootstrap.
        level: of the intervals.
    """
    main = {name: value for name, value in differences.items() if name in MAIN}
    by_class = {name: value for name, value in differences.items() if name not in MAIN}
    page = Page("Comparison", f"{split}, {pictures:,} pictures")
    page.add(
        section(
            "Difference",
            table(["", "evaluation"], [["A", names[0]], ["B", names[1]]]),
            table(
                ["metric", "A", "B", "B − A", f"{level:.3g} interval", "share", ""],
                [_row(*entry) for entry in main.items()],
            ),
            text(
                f"Both were resampled together: {samples:,} times the same {pictures:,} pictures were drawn with replacement "
                "for A and for B. The share: of samples that stray by as much as the difference is. Read it as a p-value.",
                soft=True,
            ),
        )
    )
    if by_class:
        ordered = sorted(by_class.items(), key=lambda entry: _sure(entry[1]))
        page.add(
            section(
                "By class",
                _chart(dict(ordered)),
                table(
                    ["metric", "A", "B", "B − A", f"{level:.3g} interval", "share", ""],
                    [_row(*entry) for entry in ordered],
                    limit=30,
                ),
                text(
                    "Surest first. Among many classes some differ by accident: one in twenty at a share of .05.",
                    soft=True,
                ),
            )
        )
    return page


def _row(name: str, difference: Difference) -> list[str | Html]:
    word, tone = verdict(difference)
    return [
        name,
        written(difference.first),
        written(difference.second),
        "–" if math.isnan(difference.value) else f"{difference.value:+.3f}",
        "–" if math.isnan(difference.low) else f"{difference.low:+.3f} … {difference.high:+.3f}",
        written(difference.share),
        badge(word, tone),
    ]


def _sure(difference: Difference) -> float:
    return 2.0 if math.isnan(difference.share) else difference.share


def _chart(differences: Mapping[str, Difference]) -> Html:
    points = [(d.first, d.second) for d in differences.values() if not (math.isnan(d.first) or math.isnan(d.second))]
    return line_chart(
        {"equal": [(0.0, 0.0), (1.0, 1.0)], "a class each": points},
        title="Classes: A against B",
        x_label="A",
        y_label="B",
        x_bounds=(0, 1),
        y_bounds=(0, 1),
        marks="both",
        width=460,
        height=420,
    )
