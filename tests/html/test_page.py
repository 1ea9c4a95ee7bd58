"""The page: escaped, self-contained, well-formed."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.html import (
    Html,
    Page,
    badge,
    bar_chart,
    callout,
    cards,
    code,
    details,
    figure,
    format_number,
    grid,
    heat_map,
    histogram,
    image,
    line_chart,
    markup,
    meter,
    section,
    table,
    text,
)

EVIL = "<script>alert(\"x\")</script> & 'é'"
VOID = {"img", "meta", "br", "link", "input", "hr"}


class _Outline(HTMLParser):
    """Checks that every element that is opened is closed, in order, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def outline(document: str) -> _Outline:
    parser = _Outline()
    parser.feed(document)
    parser.close()
    assert parser.open == []
    return parser


def full_page() -> Page:
    page = Page(EVIL, EVIL)
    page.add(EVIL, None, callout(EVIL, tone="error"))
    page.add(section(EVIL, EVIL, table([EVIL, "n"], [[EVIL, 1], [badge(EVIL, "error"), None]])))
    page.add(section(EVIL, cards((EVIL, 3), (EVIL, EVIL, "good")), meter(0.3), details(EVIL, text(EVIL, code(EVIL)))))
    chart = line_chart({EVIL: [(0, 1), (1, 2)]}, title=EVIL, x_label=EVIL, y_label=EVIL, marks="both")
    bars = bar_chart([EVIL], {EVIL: [1.0], "b": [2.0]}, title=EVIL, x_label=EVIL)
    heat = heat_map([[0.5]], [EVIL], [EVIL], title=EVIL, row_title=EVIL, column_title=EVIL)
    page.add(section("Charts", figure(chart, EVIL), grid(bars, heat, histogram([1, 2, 3], title=EVIL, x_label=EVIL))))
    return page.add(section("Images", figure(image(np.zeros((8, 8, 3), np.uint8), alt=EVIL), EVIL)))


def test_everything_is_escaped_and_closed() -> None:
    document = full_page().render()
    seen = outline(document)
    assert "script" not in seen.tags
    assert "<script" not in document
    assert "&lt;script&gt;" in document


def test_nothing_is_fetched() -> None:
    document = full_page().render()
    seen = outline(document)
    assert all(address.startswith(("data:", "#")) for address in seen.addresses)
    assert not re.search(r"https?:|@import|url\(", document)
    assert "default-src 'none'" in document


def test_contents_lead_to_every_section() -> None:
    document = full_page().render()
    links = re.findall(r'href="#([^"]+)"', document)
    anchors = re.findall(r'<section id="([^"]+)"', document)
    assert links == anchors
    assert len(set(anchors)) == 4  # two sections of the same title have ids of their own


def test_markup_stands_and_text_is_escaped() -> None:
    drawn = table(["a"], [[Html("<b>bold</b>")], ["<b>"]])
    assert "<b>bold</b>" in drawn
    assert "&lt;b&gt;" in drawn


def test_table_sets_numbers_to_the_right_and_folds_long_ones() -> None:
    drawn = table(["name", "n"], [["a", 1], ["b", None], ["c", 2.5]], limit=2)
    assert drawn.count('<td class="number">') == 3
    assert "1 more" in drawn
    assert markup(drawn) is drawn  # not escaped when it is put on a page
    assert "–" in drawn
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        table(["a"], [[1, 2]])


def test_image_holds_its_image() -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, :50] = 255
    drawn = image(pixels, alt="half", longest=50)
    data = re.search(r"data:image/jpeg;base64,([^\"]+)", drawn)
    assert data
    read = Image.open(io.BytesIO(base64.b64decode(data[1])))
    assert read.size == (50, 20)
    assert read.getpixel((5, 5)) == pytest.approx((255, 255, 255), abs=3)
    assert read.getpixel((45, 5)) == pytest.approx((0, 0, 0), abs=3)
    for mode in ("L", "RGBA", "P", "1", "I;16", "CMYK"):
        assert image(Image.new(mode, (4, 4)), alt=mode).startswith("<img")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        (12345, "12,345"),
        (0.123456, "0.1235"),
        (2.0, "2"),
        (1234.5, "1,234"),
        (float("nan"), "–"),
        (1e-7, "1.00e-07"),
    ],
)
def test_numbers_for_people(value: float, shown: str) -> None:
    assert format_number(value) == shown


def test_write_replaces_in_one_step(tmp_path: Path) -> None:
    path = Page("one").write(tmp_path / "deep" / "page.html")
    Page("two \udce4").write(path)  # a file name that is no UTF-8
    assert "<h1>two \\udce4</h1>" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
