"""The page: key figures first, then what each head found, how it was trained, and with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from effdet.html import Page, section, text
from effdet.report.base import Gallery, HeadReport, key_figures
from effdet.report.facts import Facts, data_section, fusion_section, setup_section
from effdet.report.statistics.bootstrap import Interval, bootstrap
from effdet.report.training import PSEUDO_GRID, pseudo_label_section, read_curves, training_section


def measured(
    reports: Mapping[str, HeadReport], *, samples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """By head, the interval of each of its metrics."""
    return {head: bootstrap(report.statistic, samples=samples, seed=seed) for head, report in reports.items()}


def report_page(
    title: str,
    subtitle: str,
    *,
    metrics: Mapping[str, Any],
    reports: Mapping[str, HeadReport],
    intervals: Mapping[str, Mapping[str, Interval]],
    facts: Facts,
    gallery: Gallery | None = None,
    curves: Path | None = None,
    summary: Sequence[str] = (),
) -> Page:
    """Put the page together.

    Args:
        reports: by head, what its evaluator found.
        intervals: of their metrics, from :func:`measured`.
        gallery: reads images; None draws none.
        curves: ``metrics.csv`` of the training, if this is the report of one.
        summary: sentences at the top, such as how the training ended.
    """
    page = Page(title, subtitle)
    figures = [key_figures(report.headline, intervals[head]) for head, report in reports.items()]
    page.add(
        section(
            "Summary",
            *figures,
            *summary,
            text("In brackets the 95 % interval, by bootstrap over images.", soft=True) if figures else None,
        )
    )
    for head, report in reports.items():
        page.add(*report.sections(metrics, intervals[head], gallery))
    if curves is not None and curves.is_file():
        found = read_curves(curves)
        page.add(training_section(found))
        if (said := pseudo_label_section(found, curves.with_name(PSEUDO_GRID))) is not None:
            page.add(said)
    return page.add(data_section(facts.data), fusion_section(facts.fusion), setup_section(facts))
