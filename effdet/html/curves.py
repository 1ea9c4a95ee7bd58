"""Line charts: curves over a common axis, or points alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from effdet.html.axes import (
    chart,
    colour,
    label,
    legend,
    line,
    scale_for,
    stroke,
    tick_text,
    tip,
    x_axis,
    y_axis,
    y_margin,
)
from effdet.html.markup import Html, format_number, tag

Points = Sequence[tuple[float, float]]


def line_chart(
    series: Mapping[str, Points],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    marks: Literal["line", "points", "both"] = "line",
    x_log: bool = False,
    y_log: bool = False,
    x_bounds: tuple[float, float] | None = None,
    y_bounds: tuple[float, float] | None = None,
    levels: Mapping[str, float] | None = None,
    width: int = 720,
    height: int = 340,
) -> Html:
    """Curves over a common axis.

    Args:
        series: for each name its (x, y) points in the order in which they are joined. A point that is not finite, or not
            above 0 on a logarithmic axis, breaks the curve. A single point is drawn as a dot.
        marks: ``line``, ``points`` (a scatter plot) or ``both``.
        levels: named values of y that get a dashed line across.
        width, height: of the drawing; the page scales it to its column.
    """
    kept = {name: _pieces(points, x_log, y_log) for name, points in series.items()}
    everything = [point for pieces in kept.values() for piece in pieces for point in piece]
    top = 12 + 20 * bool(title)
    named, legend_height = legend(list(series), 4, top + 4, width) if len(series) > 1 else (Html(""), 0.0)
    top += legend_height
    bottom = height - (24 + 20 * bool(x_label))
    heights = [y for _, y in everything] + list((levels or {}).values())
    vertical = scale_for(heights, bottom, top, log=y_log, bounds=y_bounds)
    left = y_margin(vertical, y_label)
    horizontal = scale_for(
        [x for x, _ in everything], left, width - 16, log=x_log, bounds=x_bounds or _span(everything, x_log)
    )
    parts = [named, x_axis(horizontal, top, bottom, x_label), y_axis(vertical, left, width - 16, y_label)]
    for name, value in (levels or {}).items():
        parts.append(line(left, vertical(value), width - 16, vertical(value), "mark"))
        parts.append(label(width - 18, vertical(value) - 4, name, anchor="end"))
    for index, (name, pieces) in enumerate(kept.items()):
        placed = [[(horizontal(x), vertical(y)) for x, y in piece] for piece in pieces]
        if marks != "points":
            parts += [_curve(piece, index, name) for piece in placed if len(piece) > 1]
        for piece, pixels in zip(pieces, placed, strict=True):
            if marks != "line" or len(piece) == 1:
                parts += [_dot(pixel, point, index, name) for pixel, point in zip(pixels, piece, strict=True)]
    if not everything:
        parts.append(label((left + width) / 2, (top + bottom) / 2, "no data", anchor="middle"))
    return chart(width, height, title, *parts)


def _pieces(points: Points, x_log: bool, y_log: bool) -> list[list[tuple[float, float]]]:
    """The points, broken where one cannot be drawn."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not x_log) and (y > 0 or not y_log):
            pieces[-1].append((float(x), float(y)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _span(points: Points, log: bool) -> tuple[float, float] | None:
    """Curves fill the width: the axis runs from the first x to the last, whether they are round or not."""
    values = [x for x, _ in points]
    return (min(values), max(values)) if values and min(values) < max(values) and not log else None


def _curve(pixels: list[tuple[float, float]], index: int, name: str) -> Html:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    return tag("polyline", tip(name), points=places, class_="curve", style=stroke(index))


def _dot(pixel: tuple[float, float], point: tuple[float, float], index: int, name: str) -> Html:
    said = tip(f"{name}: ({tick_text(point[0])}, {format_number(point[1])})")
    return tag("circle", said, cx=pixel[0], cy=pixel[1], r=3.5, class_="dot", style=f"fill:{colour(index)}")
