"""The page as a whole: one file, no scripts, nothing fetched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

from effdet.files import write_text
from effdet.html.blocks import Html, Section, join, tag, text

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
