"""The page of ``effdet compare``: two evaluations side by side, and how sure the difference is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from effdet.evaluation.tables import number
from effdet.html import Html, Page, Tone, badge, bar_chart, figure, section, table, text
from effdet.plurals import counted
from effdet.report.base import signed
from effdet.report.statistics.bootstrap import Difference

MAIN = ("AP", "AP50", "AP75", "mIoU", "pixel_accuracy", "top1", "top5")
"""Metrics over all classes; others are a class's own."""
MOST_BARS = 15


def conclusion(difference: Difference) -> tuple[str, Tone | None]:
    """In a word: whether the interval of the difference leaves out 0, and on which side it lies."""
    if math.isnan(difference.low):
        return "not measured", None
    if difference.low > 0:
        return "B is better", "good"
    if difference.high < 0:
        return "A is better", "error"
    return "not clear", None


def comparison_page(
    names: tuple[str, str],
    split: str,
    differences: Mapping[str, Difference],
    *,
    images: int,
    samples: int,
    level: float,
) -> Page:
    """The page.

    Args:
        names: of A and B, usually their folders.
        split: of the data that both were measured on, in words.
        differences: B - A by metric.
    """
    main = {name: value for name, value in differences.items() if name in MAIN}
    by_class = {name: value for name, value in differences.items() if name not in MAIN}
    columns = ["metric", "A", "B", "B − A", f"{level:.3g} interval", "p", ""]
    page = Page("Comparison", f"{split}, {counted(images, 'image', ',')}")
    page.add(
        section(
            "Difference",
            table(["", "evaluation"], [["A", names[0]], ["B", names[1]]]),
            table(columns, [_row(*entry) for entry in main.items()]),
            text(
                f"Both were resampled together: {samples:,} times the same {images:,} images were drawn with replacement "
                "for A and for B. p: how often a difference of this size would come about if there were none.",
                soft=True,
            ),
        )
    )
    if by_class:
        ordered = sorted(by_class.items(), key=lambda entry: unsure(entry[1]))
        page.add(
            section(
                "By class",
                figure(_chart(dict(ordered)), "the surest differences"),
                table(columns, [_row(*entry) for entry in ordered], limit=30),
                text(
                    "Surest first. Among many classes some differ by accident: one in twenty at p = .05. A dash: on too few "
                    "images to say.",
                    soft=True,
                ),
            )
        )
    return page


def _row(name: str, difference: Difference) -> list[str | Html]:
    label, tone = conclusion(difference)
    return [
        name,
        number(difference.first),
        number(difference.second),
        signed(difference.value),
        "–" if math.isnan(difference.low) else f"{signed(difference.low)} … {signed(difference.high)}",
        number(difference.p),
        badge(label, tone),
    ]


def unsure(difference: Difference) -> float:
    """To sort by: p, those without one last."""
    return 2.0 if math.isnan(difference.p) else difference.p


def _chart(differences: Mapping[str, Difference]) -> Html:
    """The surest differences as bars, those in favour of B to the right."""
    shown = {name: d.value for name, d in differences.items() if not math.isnan(d.p)}
    shown = dict(list(shown.items())[:MOST_BARS])
    return bar_chart(list(shown), {"B − A": [round(value, 3) for value in shown.values()]}, x_label="B − A", width=620)
