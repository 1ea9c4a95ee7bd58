"""doctor.html: the findings kind by kind with examples drawn, the classes, the boxes, and the anchors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from effdet.data.checks import DataError
from effdet.data.images import image_sizes, read_image
from effdet.data.mask_io import read_values
from effdet.doctor.coverage import Coverage
from effdet.doctor.examine import Diagnosis
from effdet.doctor.issues import LEVELS, Issue
from effdet.doctor.labels import Balance
from effdet.drawing import draw
from effdet.files import is_image
from effdet.html import (
    Html,
    Page,
    Section,
    Tone,
    badge,
    bar_chart,
    callout,
    cards,
    code,
    details,
    figure,
    grid,
    heading,
    heat_map,
    histogram,
    image,
    join,
    meter,
    section,
    table,
    text,
)
from effdet.plurals import counted

EXAMPLES = 4
"""Images drawn for a kind."""
ROWS, MOST_ROWS = 8, 200
"""Findings of a kind that show at once, and that are in the page at all; all are in doctor.json."""
_LARGEST = 4096 * 4096
"""Pixels; larger images are not drawn."""
_SIDE = 560
"""Pixels of the longer side of an image in the page."""
_VIVID = (255, 0, 90)
_TONES: dict[str, Tone] = {"error": "error", "warning": "warning", "note": "note"}


def page_of(found: Diagnosis) -> Page:
    """The page of a diagnosis."""
    root = "" if found.spec.root is None else f" in {found.spec.root}"
    sizes = ", ".join(f"{split.name} {counted(len(split.source), 'image', ',')}" for split in found.splits)
    page = Page(f"Doctor: {found.spec.name}", f"{sizes or 'nothing could be read'}{root}")
    page.add(_summary(found))
    for name in found.issues.issue_types():
        page.add(_kind(found, name))
    if found.coverage is not None:
        page.add(_anchors(found.coverage))
    if found.balance is not None:
        page.add(_classes(found.balance))
    if found.boxes:
        page.add(_boxes(found))
    return page


def _summary(found: Diagnosis) -> Section:
    issues = found.issues
    totals: list[tuple[str, int, Tone | None]] = [
        (f"{level}s", issues.total(level), _TONES[level] if issues.total(level) else "good") for level in LEVELS
    ]
    figures = cards(*totals, ("images", found.images), ("boxes", found.boxes), ("seconds", round(found.seconds, 1)))
    if not issues.counts:
        return section("Summary", figures, callout("Nothing is wrong with this set.", tone="good"))
    rows = []
    for name in issues.issue_types():
        kind = issues.kind(name)
        rows.append([badge(kind.level, _TONES[kind.level]), kind.title, code(name), issues.counts[name], kind.advice])
    return section("Summary", figures, table(["level", "what", "kind", "count", "what to do"], rows))


def _kind(found: Diagnosis, name: str) -> Section:
    issues = found.issues
    kind, kept = issues.kind(name), issues.of(name)
    label = join(
        [badge(kind.level, _TONES[kind.level]), " ", code(name), f" {issues.counts[name]:,} found. ", kind.advice]
    )
    repair = text(f"doctor.fix=true: {kind.repair}.", soft=True) if kind.repair else None
    rows = [
        [code(_short(issue.file)), issue.item or None, issue.text, issue.split or None] for issue in kept[:MOST_ROWS]
    ]
    more = text(f"The other {issues.counts[name] - MOST_ROWS:,} are in doctor.json.", soft=True)
    drawn = _examples(kept)
    return section(
        kind.title[:1].upper() + kind.title[1:],
        text(label),
        repair,
        grid(*drawn) if drawn else None,
        table(["file", "object", "what", "split"], rows, limit=ROWS),
        more if issues.counts[name] > MOST_ROWS else None,
    )


def _examples(kept: Sequence[Issue]) -> list[Html]:
    """The first few findings of different images that can be drawn."""
    drawn: list[Html] = []
    shown: set[str] = set()
    for issue in kept[: 20 * EXAMPLES]:
        if len(drawn) >= EXAMPLES:
            break
        path = issue.image or issue.file
        if path in shown or not is_image(path):
            continue
        shown.add(path)
        images = [_drawn(Path(path), issue) for path in (path, issue.other) if path]
        if all(image is not None for image in images):
            caption = f"{_short(path)}{f', {issue.item}' if issue.item else ''}"
            drawn.append(figure(join(images), caption))
    return drawn


def _drawn(path: Path, issue: Issue) -> Html | None:
    """The image with the finding's box; None where it cannot be read. The page shows what it can."""
    if "mask" in issue.kind or issue.kind == "unknown-id":
        return _drawn_mask(path, issue)
    try:
        (height, width), _ = image_sizes(path)
        if height * width > _LARGEST:
            return None
        pixels = read_image(path)
    except DataError:
        return None
    boxes = None
    if issue.box is not None and str(path) == issue.image and np.isfinite(issue.box).all():
        x, y, box_width, box_height = issue.box
        low, high = sorted((x, x + box_width)), sorted((y, y + box_height))
        # A box without area would not be seen; one outside shows at the edge.
        grown = max(height, width) / 16
        x1, x2 = _shown(low[0], low[1], width, grown)
        y1, y2 = _shown(high[0], high[1], height, grown)
        boxes = np.array([[x1, y1, x2, y2]])
    # Lines on an image of a few pixels would cover what they show.
    factor = max(1, _SIDE // max(height, width))
    pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    boxes = None if boxes is None else boxes * factor
    return image(draw(pixels, boxes, palette=[_VIVID]), alt=str(issue), longest=_SIDE)


def _drawn_mask(path: Path, issue: Issue) -> Html | None:
    """A mask in colours, whatever its values mean."""
    try:
        values = read_values(path)
    except DataError:
        return None
    return image(
        draw(np.zeros((*values.shape, 3), np.uint8), semantic=values, alpha=1.0), alt=str(issue), longest=_SIDE
    )


def _shown(low: float, high: float, limit: float, least: float) -> tuple[float, float]:
    low, high = min(max(low, 0.0), limit), min(max(high, 0.0), limit)
    short = max(0.0, least - (high - low)) / 2
    return low - short, high + short


def _anchors(coverage: Coverage) -> Section:
    sizes = [group for group in coverage.groups if not group.name]
    rows = [
        [group.size or "all", group.boxes, _fitted(group.fitted), meter(group.forced), group.lost, group.positives]
        for group in sizes
    ]
    columns = ["boxes", "count", "an anchor fits", "only the forced one", "lost", "anchors each"]
    shown = text(
        f"{coverage.title}. A box is fitted if an anchor that learns it overlaps it enough; forced if only its best anchor "
        "does, however badly; lost if all its anchors went to others. Small is under 32² pixels of the image, large from "
        "96² on."
    )
    levels = [f"P{level}" for level in coverage.levels]
    by_level = bar_chart(levels, {"": list(sizes[0].levels)}, title="Level of each box's best anchor", x_label="boxes")
    classes = [group for group in coverage.groups if group.name and not group.size]
    by_class = _class_heat(coverage, [group.name for group in classes])
    helped = None
    if coverage.options:
        tries = [[code(option.overrides), _fitted(option.fitted), _fitted(option.small)] for option in coverage.options]
        helped = join([heading("What would help"), table(["setting", "all boxes fitted", "small boxes fitted"], tries)])
    return section("Anchors", shown, table(columns, rows), helped, figure(by_level), by_class)


def _class_heat(coverage: Coverage, names: list[str]) -> Html | None:
    if not names:
        return None
    sizes = ("small", "medium", "large")
    share = {(group.name, group.size): group.fitted for group in coverage.groups}
    matrix = np.array([[share.get((name, size), np.nan) for size in sizes] for name in names])
    chart = heat_map(
        matrix,
        names,
        sizes,
        title="Share of boxes that an anchor fits",
        bounds=(0, 1),
        write=lambda value: f"{value:.0%}",
        series=2,
    )
    return details("By class and size", chart) if len(names) > 20 else figure(chart)


def _fitted(share: float) -> Html:
    """The share of boxes that an anchor fits."""
    return meter(share, tone="good" if share >= 0.9 else "warning" if share >= 0.5 else "error")


def _classes(balance: Balance) -> Section:
    total = [sum(values[index] for values in balance.counts.values()) for index in range(len(balance.names))]
    order = sorted(range(len(total)), key=lambda index: -total[index])
    names = [balance.names[index] for index in order]
    counts = {side: [float(values[index]) for index in order] for side, values in balance.counts.items()}
    chart = bar_chart(names, counts, log=max(total, default=0) > 1000, x_label=balance.unit)
    rows = [[balance.names[index], *(values[index] for values in balance.counts.values())] for index in order]
    numbers = table(["class", *(f"{balance.unit} in {side}" for side in balance.counts)], rows)
    return section("Classes", figure(chart), details("In numbers", numbers))


def _boxes(found: Diagnosis) -> Section:
    records = [split.source.records for split in found.splits]
    sides = np.concatenate([table.bbox[:, 2:] for table in records])
    counts = np.concatenate([np.diff(table.starts) for table in records])
    size = histogram(
        np.sqrt(sides.prod(axis=1)), log=True, title="Size of boxes", x_label="root of the area, pixels of the image",
        levels={"small": 32.0, "large": 96.0},
    )  # fmt: skip
    shape = histogram(
        sides[:, 0] / np.maximum(sides[:, 1], 1e-9),
        log=True,
        title="Shape of boxes",
        x_label="width : height",
        levels={"square": 1.0},
    )
    most = int(counts.max(initial=0))
    number = histogram(counts, bins=min(max(most, 1), 40), title="Boxes in an image", x_label="boxes", y_label="images")
    return section("Boxes", figure(size), figure(shape), figure(number))


def _short(file: str) -> str:
    """The end of a path, which says most."""
    parts = Path(file).parts
    return str(Path(*parts[-2:])) if len(parts) > 2 else file
