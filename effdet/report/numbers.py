"""Metrics with their intervals, as text and as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from effdet.evaluation.tables import number
from effdet.html import Html, cards, meter, table
from effdet.report.statistics.bootstrap import Interval


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
