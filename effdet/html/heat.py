"""Heat maps: confusion matrices, coverage tables, grids of a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from effdet.html.axes import chart, label, text_width, tick_text, tip
from effdet.html.markup import Html, format_number, tag

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
    row_names, column_names = [_short(name) for name in rows], [_short(name) for name in columns]
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
        parts.append(
            _label(
                x + (3 if slanted else 0), top - 6, name, small, "start" if slanted else "middle", -55 if slanted else 0
            )
        )
    for index, name in enumerate(row_names):
        row_size = min(size, tall * 0.9)
        parts.append(_label(left - 6, top + (index + 0.5) * tall + 4, name, f"font-size:{row_size:.1f}px", "end", 0))
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


def _label(x: float, y: float, text: str, style: str, anchor: str, turn: float) -> Html:
    rotated = f"rotate({turn:g} {x:.1f} {y:.1f})" if turn else None
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_="tick", style=style, transform=rotated)


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _colour_bar(x: float, top: float, height: float, low: float, high: float, series: int) -> list[Html]:
    """The colour scale in steps, with its two ends."""
    height, steps = min(height, 160.0), 24
    parts = []
    for step in range(steps):
        place = {"x": x, "y": top + step * height / steps, "width": 12.0, "height": height / steps + 0.5}
        parts.append(tag("rect", **place, style=f"fill:var(--s{series});fill-opacity:{1 - (step + 0.5) / steps:.3f}"))
    return [*parts, label(x + 17, top + 9, tick_text(high)), label(x + 17, top + height, tick_text(low))]
