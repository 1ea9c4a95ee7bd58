"""One self-contained HTML page: text, tables, images and charts, with nothing to fetch and no script.

A page is built from top to bottom. Every builder gives :class:`Html`; plain text that it is handed is escaped.

>>> page = Page("Run 7", "b0 on streets")
>>> page.add(section("Loss", figure(line_chart({"train": [(1, 2.0), (2, 1.5)]}, x_label="epoch"), "per epoch")))
>>> page.add(section("Classes", table(["class", "AP"], [["car", 0.41]])))
>>> page.write("report.html")
"""

from effdet.html.charts import bar_chart, heat_map, histogram, line_chart
from effdet.html.page import (
    Html,
    Page,
    Section,
    Tone,
    badge,
    callout,
    cards,
    code,
    details,
    figure,
    format_number,
    grid,
    heading,
    image,
    join,
    listing,
    markup,
    meter,
    section,
    table,
    tag,
    text,
)

__all__ = [
    "Html",
    "Page",
    "Section",
    "Tone",
    "badge",
    "bar_chart",
    "callout",
    "cards",
    "code",
    "details",
    "figure",
    "format_number",
    "grid",
    "heading",
    "heat_map",
    "histogram",
    "image",
    "join",
    "line_chart",
    "listing",
    "markup",
    "meter",
    "section",
    "table",
    "tag",
    "text",
]
