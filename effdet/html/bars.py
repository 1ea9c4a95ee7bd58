"""Bar charts and histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from effdet.html.axes import (
    Scale,
    chart,
    colour,
    label,
    legend,
    line,
    scale_for,
    text_width,
    tip,
    x_axis,
    y_axis,
    y_margin,
)
from effdet.html.markup import Html, format_number, tag

_ROW, _THICK = 24, 16


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    x_label: str = "",
    stacked: bool = False,
    log: bool = False,
    bounds: tuple[float, float] | None = None,
    percent: bool = False,
    width: int = 720,
) -> Html:
    """Lying bars, one line a label, with their values written behind: class names stay legible however many there are.

    Args:
        labels: names of the lines, from the top.
        series: for each name one value a label; NaN draws no bar. Several stand below each other, or are joined where
            `stacked`.
        log: a logarithmic axis for counts that differ by orders of magnitude (not stacked).
        bounds: ends of the axis, instead of round ones.
        percent: write values of 0…1 as percentages.
    """
    if any(len(values) != len(labels) for values in series.values()):
        raise ValueError(f"every series needs one value for each of the {len(labels)} labels")
    rows = 1 if stacked else max(len(series), 1)
    thick = _THICK if rows == 1 else max(7.0, 22 / rows)
    pitch = _ROW if rows == 1 else rows * thick + 10
    names = [name if len(name) <= 32 else name[:31] + "…" for name in labels]
    top = 12 + 20 * bool(title)
    named, legend_height = legend(list(series), 4, top + 4, width) if len(series) > 1 else (Html(""), 0.0)
    top += legend_height
    bottom = top + pitch * len(labels) + 6
    left = max([text_width(name, 12) for name in names], default=0) + 14
    totals = _totals(series, len(labels), stacked)
    right = width - max([text_width(_said(value, percent)) for value in totals], default=0) - 14
    scale = scale_for(totals, left, max(right, left + 60), log=log, bounds=bounds, zero=not log)
    if log:
        scale = Scale(min(scale.low, 1.0), scale.high, scale.start, scale.end, True)
    parts = [named, x_axis(scale, top, bottom, x_label)]
    for row, name in enumerate(names):
        y = top + 6 + row * pitch
        parts.append(label(left - 8, y + rows * thick / 2 + 4, name, anchor="end", kind="entry"))
        draw = _stack if stacked else _group
        parts += draw(scale, y, thick, labels[row], {key: values[row] for key, values in series.items()}, percent)
    parts.append(line(left, top, left, bottom, "axis"))
    return chart(width, bottom + 24 + 18 * bool(x_label), title, *parts)


def histogram(
    values: Sequence[float] | np.ndarray,
    *,
    bins: int | Sequence[float] = 30,
    title: str = "",
    x_label: str = "",
    y_label: str = "count",
    log: bool = False,
    levels: Mapping[str, float] | None = None,
    width: int = 720,
    height: int = 280,
) -> Html:
    """How often values fall into each bin.

    Args:
        values: numbers; those that are not finite (or not above 0 where `log`) are left out.
        bins: their number, or their edges, rising.
        log: a logarithmic axis of values, with bins of equal ratio.
        levels: named values that get a dashed upright line.
    """
    known = np.asarray(values, np.float64).reshape(-1)
    known = known[np.isfinite(known) & ((known > 0) | (not log))]
    counts, edges = np.histogram(known, bins=_edges(known, bins, log))
    top, bottom = 16 + 20 * bool(title), height - (24 + 20 * bool(x_label))
    vertical = scale_for(counts.tolist(), bottom, top, zero=True)
    left = y_margin(vertical, y_label)
    horizontal = Scale(float(edges[0]), float(edges[-1]), left, width - 16, log)
    parts = [x_axis(horizontal, top, bottom, x_label), y_axis(vertical, left, width - 16, y_label)]
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            x1, x2, y = horizontal(low), horizontal(high), vertical(count)
            said = tip(f"{format_number(low)} … {format_number(high)}: {count:,}")
            gap = 1.0 if x2 - x1 > 4 else 0.0
            bar = {"x": x1 + gap / 2, "y": y, "width": max(x2 - x1 - gap, 0.5), "height": bottom - y}
            parts.append(tag("rect", said, **bar, class_="bar", style=f"fill:{colour(0)}"))
    for name, value in (levels or {}).items():
        if edges[0] <= value <= edges[-1]:
            parts.append(line(horizontal(value), top, horizontal(value), bottom, "mark"))
            parts.append(label(horizontal(value) + 4, top + 10, name))
    return chart(width, height, title, *parts)


def _edges(values: np.ndarray, bins: int | Sequence[float], log: bool) -> np.ndarray:
    if not isinstance(bins, int):
        return np.asarray(bins, np.float64)
    low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 10.0)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)


def _totals(series: Mapping[str, Sequence[float]], count: int, stacked: bool) -> list[float]:
    if stacked:
        return [
            sum(float(values[row]) for values in series.values() if math.isfinite(values[row])) for row in range(count)
        ]
    return [float(value) for values in series.values() for value in values if math.isfinite(value)]


def _said(value: float, percent: bool) -> str:
    return f"{value:.1%}" if percent else format_number(value)


def _group(scale: Scale, y: float, thick: float, name: str, values: Mapping[str, float], percent: bool) -> list[Html]:
    parts = []
    base = scale(scale.low if scale.log else min(max(0.0, scale.low), scale.high))
    for index, (key, value) in enumerate(values.items()):
        if not math.isfinite(value):
            continue
        end = scale(max(value, scale.low))
        said = tip(f"{name}{f', {key}' if key else ''}: {_said(value, percent)}")
        bar = {"x": min(base, end), "y": y + index * thick, "width": abs(end - base), "height": max(thick - 1.5, 4.0)}
        parts.append(tag("rect", said, **bar, rx=2, class_="bar", style=f"fill:{colour(index)}"))
        if thick >= 10:
            parts.append(
                label(max(base, end) + 5, y + index * thick + thick / 2 + 3.5, _said(value, percent), kind="value")
            )
    return parts


def _stack(scale: Scale, y: float, thick: float, name: str, values: Mapping[str, float], percent: bool) -> list[Html]:
    parts, total = [], 0.0
    for index, (key, value) in enumerate(values.items()):
        if not math.isfinite(value) or value <= 0:
            continue
        x1, x2 = scale(total), scale(total + value)
        bar = {"x": x1, "y": y, "width": max(x2 - x1, 0.5), "height": thick - 1.5}
        said = tip(f"{name}, {key}: {_said(value, percent)}")
        parts.append(tag("rect", said, **bar, class_="bar", style=f"fill:{colour(index)}"))
        total += value
    parts.append(label(scale(total) + 5, y + thick / 2 + 3.5, _said(total, percent), kind="value"))
    return parts
