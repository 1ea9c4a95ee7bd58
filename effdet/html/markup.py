"""Safe markup: plain text is escaped wherever it goes in, and only what these functions built is markup."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Text that is markup already. Anything else that a builder is given is escaped."""

    __slots__ = ()


def markup(value: Any) -> Html:
    """`value` as markup: :class:`Html` as it is, None as nothing, lists piece by piece, all else escaped."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    if isinstance(value, (list, tuple)):
        return join(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        # A lone surrogate (a file name that is no UTF-8) could not be written to a file.
        text = str(value).encode("utf-8", "backslashreplace").decode()
        return Html(html.escape(text))
    return Html(html.escape(format_number(value)))


def join(parts: Iterable[Any], separator: str = "") -> Html:
    """All `parts` as markup, one behind the other."""
    return Html(separator.join(markup(part) for part in parts))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """``<name …>children</name>``. A trailing underscore of an attribute is dropped, other underscores become ``-``;
    None and False leave an attribute out, True writes it bare."""
    head = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        head += f" {key}" if value is True else f' {key}="{markup(_plain(value))}"'
    if name in _VOID:
        return Html(f"<{head}>")
    return Html(f"<{head}>{join(children)}</{name}>")


def format_number(value: float) -> str:
    """A number for people: integers whole with thousands set apart, others with four significant digits."""
    if isinstance(value, int) or (math.isfinite(value) and float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.2e}"


_VOID = frozenset({"img", "br", "hr", "meta", "link", "input"})


def _plain(value: Any) -> str:
    """Coordinates need no more than two digits behind the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
