"""Bar charts, histograms, line charts (curves over a common axis, or just points) and heat maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from effdet.html.axes import (
    Scale,
    chart,
    colour,
    label,
    legend,
    line,
    scale_for,
    shortened,
    stroke,
    text_width,
    tick_text,
    tip,
    x_axis,
    y_axis,
    y_margin,
)
from effdet.html.page import Html, format_number, tag


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    x_label: str = "",
    log: bool = False,
    width: int = 720,
) -> Html:
    """Lying bars, one line a label, with their values written behind: class names stay legible however many there are.

    Args:
        labels: names of the lines, from the top.
        series: for each name one value a label; NaN draws no bar. Several stand below each other.
        log: a logarithmic axis, for counts that differ by orders of magnitude.
    """
    if any(len(values) != len(labels) for values in series.values()):
        raise ValueError(f"every series needs one value for each of the {len(labels)} labels")
    rows = max(len(series), 1)
    thick, pitch = (16, 24) if rows == 1 else (max(7.0, 22 / rows), rows * max(7.0, 22 / rows) + 10)
    names = [shortened(name, 32) for name in labels]
    named, top = _head(title, series, width)
    bottom = top + pitch * len(labels) + 6
    left = max([text_width(name, 12) for name in names], default=0) + 14
    finite = [float(value) for values in series.values() for value in values if math.isfinite(value)]
    right = width - max([text_width(format_number(value)) for value in finite], default=0) - 14
    scale = scale_for(finite, left, max(right, left + 60), log=log, zero=not log)
    if log:
        scale = Scale(min(scale.low, 1.0), scale.high, scale.start, scale.end, True)
    base = scale(scale.low if log else min(max(0.0, scale.low), scale.high))
    parts = [named, x_axis(scale, top, bottom, x_label)]
    for row, name in enumerate(names):
        y = top + 6 + row * pitch
        parts.append(label(left - 8, y + rows * thick / 2 + 4, name, anchor="end", kind="entry"))
        for index, (key, values) in enumerate(series.items()):
            if not math.isfinite(value := values[row]):
                continue
            end, shown = scale(max(value, scale.low)), format_number(value)
            said = tip(f"{labels[row]}{f', {key}' if key else ''}: {shown}")
            high = y + index * thick
            bar = {"x": min(base, end), "y": high, "width": abs(end - base), "height": max(thick - 1.5, 4.0)}
            parts.append(tag("rect", said, **bar, rx=2, class_="bar", style=f"fill:{colour(index)}"))
            if thick >= 10:
                parts.append(label(max(base, end) + 5, high + thick / 2 + 3.5, shown, kind="value"))
    parts.append(line(left, top, left, bottom, "axis"))
    return chart(width, bottom + 24 + 18 * bool(x_label), title, *parts)


def _head(title: str, series: Mapping[str, Any], width: float) -> tuple[Html, float]:
    """The names of several series, below the title, and where the drawing begins below them."""
    top = 12 + 20 * bool(title)
    if len(series) <= 1:
        return Html(""), top
    named, height = legend(list(series), 4, top + 4, width)
    return named, top + height


def histogram(
    values: Sequence[float] | np.ndarray,
    *,
    bins: int = 30,
    title: str = "",
    x_label: str = "",
    y_label: str = "count",
    log: bool = False,
    levels: Mapping[str, float] | None = None,
) -> Html:
    """How often values fall into each bin.

    Args:
        values: numbers; those that are not finite (or not above 0 where `log`) are left out.
        bins: their number.
        log: a logarithmic axis of values, with bins of equal ratio.
        levels: named values that get a dashed upright line.
    """
    known = np.asarray(values, np.float64).reshape(-1)
    known = known[np.isfinite(known) & ((known > 0) | (not log))]
    counts, edges = np.histogram(known, bins=_edges(known, bins, log))
    width, height = 720, 280
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


def _edges(values: np.ndarray, bins: int, log: bool) -> np.ndarray:
    low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 10.0)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)


Points = Sequence[tuple[float, float]]


def line_chart(
    series: Mapping[str, Points],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    marks: Literal["line", "points", "both"] = "line",
    y_log: bool = False,
    x_bounds: tuple[float, float] | None = None,
    y_bounds: tuple[float, float] | None = None,
    width: int = 720,
    height: int = 340,
) -> Html:
    """Curves over a common axis.

    Args:
        series: for each name its (x, y) points in the order in which they are joined. A point that is not finite, or
            whose y is not above 0 on a logarithmic axis, breaks the curve. A single point is drawn as a dot.
        marks: ``line``, ``points`` (a scatter plot) or ``both``.
        width, height: of the drawing; the page scales it to its column.
    """
    kept = {name: _pieces(points, y_log) for name, points in series.items()}
    everything = [point for pieces in kept.values() for piece in pieces for point in piece]
    named, top = _head(title, series, width)
    bottom = height - (24 + 20 * bool(x_label))
    vertical = scale_for([y for _, y in everything], bottom, top, log=y_log, bounds=y_bounds)
    left = y_margin(vertical, y_label)
    across = [x for x, _ in everything]
    # Curves fill the width: the axis runs from the first x to the last, whether they are round or not.
    span = (min(across), max(across)) if across and min(across) < max(across) else None
    horizontal = scale_for(across, left, width - 16, bounds=x_bounds or span)
    parts = [named, x_axis(horizontal, top, bottom, x_label), y_axis(vertical, left, width - 16, y_label)]
    for index, (name, pieces) in enumerate(kept.items()):
        placed = [[(horizontal(x), vertical(y)) for x, y in piece] for piece in pieces]
        if marks != "points":
            for piece in placed:
                if len(piece) > 1:
                    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
                    parts.append(tag("polyline", tip(name), points=places, class_="curve", style=stroke(index)))
        for piece, pixels in zip(pieces, placed, strict=True):
            if marks != "line" or len(piece) == 1:
                parts += [_dot(pixel, point, index, name) for pixel, point in zip(pixels, piece, strict=True)]
    if not everything:
        parts.append(label((left + width) / 2, (top + bottom) / 2, "no data", anchor="middle"))
    return chart(width, height, title, *parts)


def _pieces(points: Points, y_log: bool) -> list[list[tuple[float, float]]]:
    """The points, broken where one cannot be drawn."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not y_log):
            pieces[-1].append((float(x), float(y)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _dot(pixel: tuple[float, float], point: tuple[float, float], index: int, name: str) -> Html:
    said = tip(f"{name}: ({tick_text(point[0])}, {format_number(point[1])})")
    return tag("circle", said, cx=pixel[0], cy=pixel[1], r=3.5, class_="dot", style=f"fill:{colour(index)}")


_CELL_LEAST, _CELL_MOST = 9.0, 46.0


def heat_map(
    matrix: np.ndarray | Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    row_title: str = "",
    column_title: str = "",
    bounds: tuple[float, float] | None = None,
    write: Callable[[float], str] = format_number,
    series: int = 0,
    width: int = 720,
) -> Html:
    """A matrix as coloured cells; the numbers stand in the cells where they fit, and show under the pointer always.

    Args:
        matrix: (R, C) numbers; NaN leaves a cell empty. For a confusion matrix: rows are the truth, columns the
            predictions, each row divided by its sum.
        bounds: values of the palest and the strongest colour; (0, maximum) by default.
        write: how a value is spelled.
        series: which of the chart colours to use.
    """
    values = np.asarray(matrix, np.float64).reshape(len(rows), len(columns))
    known = values[np.isfinite(values)]
    low, high = bounds if bounds is not None else (min(0.0, float(known.min(initial=0))), float(known.max(initial=0)))
    high = high if high > low else low + 1.0
    row_names, column_names = [shortened(name, 24) for name in rows], [shortened(name, 24) for name in columns]
    left = max([text_width(name) for name in row_names], default=0) + 10 + 18 * bool(row_title)
    cell = min(_CELL_MOST, max(_CELL_LEAST, (width - left - 70) / max(len(columns), 1)))
    size = 11.5 if cell >= 14 else cell * 0.85
    slanted = max([text_width(name) for name in column_names], default=0) > cell
    head = max([text_width(name, size) for name in column_names], default=0) * 0.82 + 10 if slanted else 20.0
    top = 12 + 20 * bool(title) + 18 * bool(column_title) + head
    tall = min(cell, 30.0)
    right, bottom = left + cell * len(columns), top + tall * len(rows)
    parts = [tag("rect", x=left, y=top, width=right - left, height=bottom - top, style="fill:var(--zebra)")]
    small = f"font-size:{size:.1f}px"
    for index, name in enumerate(column_names):
        x = left + (index + 0.5) * cell
        anchor, turn = ("start", -55.0) if slanted else ("middle", 0.0)
        parts.append(label(x + (3 if slanted else 0), top - 6, name, anchor=anchor, turn=turn, style=small))
    tiny = f"font-size:{min(size, tall * 0.9):.1f}px"
    for index, name in enumerate(row_names):
        parts.append(label(left - 6, top + (index + 0.5) * tall + 4, name, anchor="end", style=tiny))
    for (row, column), value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        x, y = left + column * cell, top + row * tall
        if share > 0.004 or cell >= 14:  # thousands of empty cells would make a page heavy and say nothing
            said = tip(f"{rows[row]} → {columns[column]}: {write(float(value))}")
            place = {"x": x, "y": y, "width": cell - 1, "height": tall - 1}
            parts.append(
                tag("rect", said, **place, class_="cell", style=f"fill:var(--s{series});fill-opacity:{share:.3f}")
            )
        shown = write(float(value))
        if share > 0.004 and text_width(shown, 11) <= cell - 2:
            kind = "value over" if share > 0.6 else "value"
            parts.append(label(x + cell / 2, y + tall / 2 + 4, shown, anchor="middle", kind=kind))
    parts += _colour_bar(right + 14, top, max(bottom - top, 40.0), low, high, series)
    if column_title:
        parts.append(label(left, top - head - 4, column_title, kind="entry"))
    if row_title:
        parts.append(label(13, (top + bottom) / 2, row_title, anchor="middle", kind="entry", turn=-90))
    overhang = max((text_width(name, size) * 0.58 for name in column_names[-1:]), default=0.0) if slanted else 0.0
    return chart(max(right + 70, right + overhang), max(bottom, top + 40) + 10, title, *parts)


def _colour_bar(x: float, top: float, height: float, low: float, high: float, series: int) -> list[Html]:
    """The colour scale in steps, with its two ends."""
    height, steps = min(height, 160.0), 24
    parts = []
    for step in range(steps):
        place = {"x": x, "y": top + step * height / steps, "width": 12.0, "height": height / steps + 0.5}
        parts.append(tag("rect", **place, style=f"fill:var(--s{series});fill-opacity:{1 - (step + 0.5) / steps:.3f}"))
    return [*parts, label(x + 17, top + 9, tick_text(high)), label(x + 17, top + height, tick_text(low))]
