"""A page, one file without scripts that fetches nothing, and its pieces: sections, tables, images, figures, cards, remarks.

Plain text is escaped wherever it goes in, and only what these functions built is markup. Images are data URIs.
"""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from PIL import Image

from effdet.files import write_text
from effdet.pixels import rgb


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


_SHORT = 24
"""Letters up to which a name or a cell is not broken into lines."""

Tone = Literal["error", "warning", "note", "good"]


@dataclass(frozen=True)
class Section:
    """A titled part of a page, with a line in its contents."""

    title: str
    content: Html


def section(title: str, *content: Any) -> Section:
    """A part of the page: plain text in `content` becomes paragraphs, markup stands as it is."""
    return Section(title, join(part if isinstance(part, Html) else text(part) for part in content if part is not None))


def text(*parts: Any, soft: bool = False) -> Html:
    """A paragraph; `soft` for asides."""
    return tag("p", *parts, class_="soft" if soft else None)


def heading(title: str) -> Html:
    """A heading inside a section."""
    return tag("h3", title)


def code(line: str) -> Html:
    """A file, key or command inside text."""
    return tag("code", line, class_="short" if len(line) <= _SHORT else None)


def listing(lines: str) -> Html:
    """Lines of a terminal or a file."""
    return tag("pre", lines)


def badge(label: Any, tone: Tone | None = None) -> Html:
    """A short word on a coloured plate."""
    return tag("span", label, class_=f"badge {tone or ''}".strip())


def callout(*content: Any, tone: Tone = "note") -> Html:
    """A remark that should not be missed."""
    return tag("div", *content, class_=f"callout {tone}")


def cards(*entries: tuple[str, Any] | tuple[str, Any, Tone | None]) -> Html:
    """Key figures side by side: ``(label, value)`` or ``(label, value, tone)``."""
    drawn = [
        tag(
            "div",
            tag("b", _cell(entry[1])),
            tag("span", entry[0]),
            class_=f"card {(entry[2:] or ('',))[0] or ''}".strip(),
        )
        for entry in entries
    ]
    return tag("div", *drawn, class_="cards")


def meter(share: float, *, tone: Tone | None = None, label: str | None = None) -> Html:
    """A share of 0…1 as a small bar with its percentage (or `label`), for cells of a table."""
    known = math.isfinite(share)
    width = f"width:{100 * min(max(share, 0.0), 1.0) if known else 0:.1f}%"
    shown = label if label is not None else (f"{share:.1%}" if known else "–")
    return tag("span", tag("i", tag("b", style=width)), tag("span", shown), class_=f"meter {tone or ''}".strip())


def details(summary: Any, *content: Any) -> Html:
    """Content that is folded away until it is asked for."""
    return tag("details", tag("summary", summary), *content)


def grid(*content: Any, least: str = "17rem") -> Html:
    """Blocks side by side, as many as fit with a width of at least `least` (a CSS length)."""
    return tag("div", *content, class_="grid", style=f"--least:{least}")


def figure(content: Any, caption: Any = None) -> Html:
    """A chart or an image with its caption."""
    return tag("figure", tag("div", content, class_="scroll"), None if caption is None else tag("figcaption", caption))


def table(columns: Sequence[Any], rows: Sequence[Sequence[Any]], *, limit: int | None = None) -> Html:
    """A table. Columns that hold only numbers stand to the right; None and NaN are written as a dash.

    Args:
        columns: headings.
        rows: cells: numbers, text (escaped) or markup.
        limit: rows that show at once; the others are folded away below.
    """
    wrong = next((row for row in rows if len(row) != len(columns)), None)
    if wrong is not None:
        raise ValueError(f"a row has {len(wrong)} cells for {len(columns)} columns: {wrong!r}")
    numeric = []
    for index in range(len(columns)):
        cells = [row[index] for row in rows]
        numeric.append(any(map(_is_number, cells)) and all(cell is None or _is_number(cell) for cell in cells))
    shown, hidden = (rows, ()) if limit is None or len(rows) <= limit else (rows[:limit], rows[limit:])
    drawn = _table(columns, shown, numeric)
    if not hidden:
        return drawn
    return join([drawn, details(f"{len(hidden):,} more", _table(columns, hidden, numeric))])


def _table(columns: Sequence[Any], rows: Sequence[Sequence[Any]], numeric: list[bool]) -> Html:
    styles = ["number" if is_number else None for is_number in numeric]
    head = tag("tr", *(tag("th", name, class_=style) for name, style in zip(columns, styles, strict=True)))
    body = [
        tag(
            "tr",
            *(tag("td", _cell(cell), class_=style or _length(cell)) for cell, style in zip(row, styles, strict=True)),
        )
        for row in rows
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _length(cell: Any) -> str | None:
    return "short" if isinstance(cell, str) and not isinstance(cell, Html) and len(cell) <= _SHORT // 2 else None


def _cell(value: Any) -> Html:
    return Html("–") if value is None else markup(value)


def image(image: Image.Image | np.ndarray, *, alt: str, longest: int = 720) -> Html:
    """An ``<img>`` that holds its image.

    Args:
        image: PIL image of any mode, or (H, W, 3) or (H, W) uint8.
        alt: what it shows, in words.
        longest: bound on its longer side in pixels; larger images are reduced, smaller ones left.
    """
    drawn = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    drawn = drawn if drawn.mode in ("RGB", "L") else rgb(drawn)
    scale = longest / max(drawn.size)
    if scale < 1:
        size = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
        drawn = drawn.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    drawn.save(buffer, "jpeg", quality=82, optimize=True)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return tag("img", src=source, alt=alt, width=drawn.width, height=drawn.height, loading="lazy")


_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for this page: nothing but what stands in it."""


class Page:
    """A page that is filled from top to bottom, then rendered or written.

    >>> page = Page("Run 7", "b0 on streets").add(section("Scores", table(["AP"], [[0.41]])))
    >>> page.write(Path("report.html"))
    """

    def __init__(self, title: str, subtitle: Any = None) -> None:
        self.title = title
        self.subtitle = subtitle
        self._parts: list[Section | Html] = []

    def add(self, *parts: Any) -> Self:
        """Adds sections and markup; plain text becomes a paragraph, None is left out."""
        for part in parts:
            if part is not None:
                self._parts.append(part if isinstance(part, (Section, Html)) else text(part))
        return self

    def render(self) -> str:
        """The whole document."""
        titles = [part.title for part in self._parts if isinstance(part, Section)]
        anchors = _anchors(titles)
        pending = iter(anchors)
        body = [
            tag("section", tag("h2", part.title), part.content, id=next(pending)) if isinstance(part, Section) else part
            for part in self._parts
        ]
        contents = _contents(titles, anchors) if len(titles) > 1 else None
        subtitle = None if self.subtitle is None else tag("div", self.subtitle, class_="soft")
        top = tag("header", tag("h1", self.title), subtitle, class_="top")
        frame = tag("div", top, contents, tag("main", *body), class_="frame" + " with-contents" * bool(contents))
        head = join(
            [
                tag("meta", charset="utf-8"),
                Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
                Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
                tag("title", self.title),
                Html(f"<style>{_STYLE.read_text(encoding='utf-8')}</style>"),
            ],
            "\n",
        )
        return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n{tag("body", frame)}\n</html>\n'

    def write(self, path: Path | str) -> Path:
        """Writes the document as UTF-8; a page that was there is replaced in one step, never left half written."""
        return write_text(path, self.render())


def _contents(titles: list[str], anchors: list[str]) -> Html:
    lines = [tag("li", tag("a", title, href=f"#{anchor}")) for title, anchor in zip(titles, anchors, strict=True)]
    return tag("nav", tag("ol", *lines), class_="contents", aria_label="Contents")


def _anchors(titles: list[str]) -> list[str]:
    """An id for each title, made of its words; a second one of the same words is numbered."""
    taken: list[str] = []
    for title in titles:
        plain = re.sub(r"[^\w]+", "-", title.casefold()).strip("-") or "section"
        anchor, count = plain, 1
        while anchor in taken:
            count += 1
            anchor = f"{plain}-{count}"
        taken.append(anchor)
    return taken
