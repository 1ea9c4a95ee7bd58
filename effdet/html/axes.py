"""From numbers to places on a chart: scales, round ticks, and the frame that charts share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from effdet.html.page import Html, join, markup, tag

SERIES = 8
"""Colours that the stylesheet has for the series of a chart; further ones come round again, dashed."""


@dataclass(frozen=True)
class Scale:
    """A line of numbers laid on a line of pixels; either may run backwards."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixels; numbers beyond the ends land beyond the ends."""
        low, high = self._warp(self.low), self._warp(self.high)
        share = (self._warp(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 6) -> list[float]:
        """Round numbers within the scale, about `count` of them."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high, count)

    def _warp(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value


def scale_for(
    values: Sequence[float],
    start: float,
    end: float,
    *,
    log: bool = False,
    bounds: tuple[float, float] | None = None,
    zero: bool = False,
) -> Scale:
    """A scale that holds all finite `values` with round ends, or exactly `bounds` where they are given.

    Args:
        zero: include 0, as lengths of bars must.
    """
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if bounds is not None:
        low, high = bounds
    elif not finite:
        low, high = (1.0, 10.0) if log else (0.0, 1.0)
    elif log:
        low, high = 10 ** math.floor(math.log10(min(finite))), 10 ** math.ceil(math.log10(max(finite)))
    else:
        low, high = min(finite + [0.0] * zero), max(finite + [0.0] * zero)
        step = _step(high - low or abs(high) or 1.0, 6)
        low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    if low >= high:
        low, high = (low / 10, low * 10) if log else (low - 0.5, low + 0.5)
    return Scale(low, high, start, end, log)


def linear_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    step = _step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high]; 2 and 5 times them too where there are few."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    stride = max(1, (last - first) // 8)
    ticks = [factor * 10.0**power for power in range(first, last + 1, stride) for factor in factors]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def tick_text(value: float) -> str:
    """A tick's number, short: 20k, 1.5M, 0.25, 1e-4."""
    if value == 0:
        return "0"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and (size > 1e3 or abs(value) >= 1e4):
            return f"{value / size:.4g}{unit}"
    if abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.5g}"


def _step(span: float, count: int) -> float:
    rough = span / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def text_width(text: str, size: float = 11.5) -> float:
    """Pixels that `text` takes in a sans-serif font of `size`, roughly: fonts differ, so it errs to the wide side."""
    return sum(1.0 if ord(letter) > 0x2E7F else 0.58 for letter in text) * size


def label(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    kind: str = "tick",
    turn: float = 0,
    style: str | None = None,
) -> Html:
    """Text at (x, y), turned by `turn` degrees."""
    rotated = f"rotate({turn:g} {x:.1f} {y:.1f})" if turn else None
    return tag("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=kind, style=style, transform=rotated)


def shortened(name: str, most: int) -> str:
    """A name of `most` letters at the most."""
    return name if len(name) <= most else name[: most - 1] + "…"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    """A straight line of the stylesheet's class `kind`."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=kind)


def x_axis(scale: Scale, top: float, bottom: float, title: str) -> Html:
    """Grid lines from `top` to `bottom`, tick numbers and a title below."""
    parts = []
    for tick in scale.ticks():
        parts.append(line(scale(tick), top, scale(tick), bottom, "gridline"))
        parts.append(label(scale(tick), bottom + 16, tick_text(tick), anchor="middle"))
    parts.append(line(scale.start, bottom, scale.end, bottom, "axis"))
    if title:
        parts.append(label((scale.start + scale.end) / 2, bottom + 34, title, anchor="middle"))
    return join(parts)


def y_axis(scale: Scale, left: float, right: float, title: str) -> Html:
    """Grid lines from `left` to `right`, tick numbers and a title along the left."""
    parts = []
    for tick in scale.ticks():
        parts.append(line(left, scale(tick), right, scale(tick), "gridline"))
        parts.append(label(left - 7, scale(tick) + 4, tick_text(tick), anchor="end"))
    if title:
        parts.append(label(13, (scale.start + scale.end) / 2, title, anchor="middle", turn=-90))
    return join(parts)


def y_margin(scale: Scale, title: str) -> float:
    """Room that :func:`y_axis` needs at the left."""
    return max([text_width(tick_text(tick)) for tick in scale.ticks()], default=0) + 12 + (18 if title else 0)


def chart(width: float, height: float, title: str, *parts: Html) -> Html:
    """The ``<svg>`` around a chart; `title` is written above it, and read out by screen readers."""
    head = label(0, 14, title, kind="title") if title else Html("")
    return tag(
        "svg",
        head,
        *parts,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        class_="chart",
        role="img",
        aria_label=title or "chart",
        # Never enlarged beyond its own letters, never reduced until they can't be read: then the figure scrolls.
        style=f"max-width:{width:.0f}px;min-width:min(20rem,{width:.0f}px)",
    )


def legend(names: Sequence[str], left: float, top: float, right: float) -> tuple[Html, float]:
    """Names with their colours in lines that break at `right`, and the height that they take."""
    parts, x, y = [], left, top
    for index, name in enumerate(names):
        shown = shortened(name, 40)
        width = 22 + text_width(shown, 12) + 12
        if x > left and x + width > right:
            x, y = left, y + 18
        parts.append(tag("line", x1=x, y1=y, x2=x + 16, y2=y, style=stroke(index) + ";stroke-width:3"))
        parts.append(label(x + 22, y + 4, shown, kind="entry"))
        x += width
    return join(parts), y - top + 18


def colour(index: int) -> str:
    """CSS colour of a chart's `index`-th series."""
    return f"var(--s{index % SERIES})"


def stroke(index: int) -> str:
    """CSS of a series' line: a second round of the colours is dashed, a third dotted."""
    dash = ("", ";stroke-dasharray:7 4", ";stroke-dasharray:2 4")[index // SERIES % 3]
    return f"stroke:{colour(index)}{dash}"


def tip(text: str) -> Html:
    """What shows when the pointer rests on a mark."""
    return tag("title", markup(text))
