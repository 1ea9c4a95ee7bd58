"""Where labels go: beside their box, inside the image, not on top of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from effdet.drawing.style import Style, font, shortened

Rectangle = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the image."""


_SHARE = 0.15
"""Labels cover at most this share of an image, so that it stays visible (the first one is always drawn)."""


@dataclass(frozen=True)
class Label:
    """One label, placed."""

    text: str
    area: Rectangle
    box: int
    """Index of the box it belongs to."""


def place(
    boxes: Sequence[Rectangle],
    texts: Sequence[tuple[str, ...]],
    order: Sequence[int],
    size: tuple[int, int],
    style: Style,
) -> list[Label]:
    """Place labels one after another; the first placed choose first.

    Args:
        boxes: of the objects.
        texts: for each box its texts, longest first; shorter ones are tried where the longer find no free place.
        order: indices of the boxes, most important first.
        size: (width, height) of the image.
        style: letter size and padding.

    Returns:
        Labels wholly inside the image, none on another. A label without a free place is left out, as are the last ones
        where labels would cover more than `_SHARE` of the image: their boxes show the class by colour.
    """
    placed: list[Label] = []
    room = _SHARE * size[0] * size[1]
    for index in order:
        found = _first_free(boxes[index], texts[index], index, placed, size, style)
        if found is None:
            continue
        covered = _area(found.area)
        if covered > room and placed:
            continue
        placed.append(found)
        room -= covered
    return placed


def _first_free(
    box: Rectangle, texts: Sequence[str], index: int, placed: list[Label], size: tuple[int, int], style: Style
) -> Label | None:
    for number, text in enumerate(texts):
        text = shortened(text, size[0] - 2 * style.pad - 1, style.font)
        extent = measure(text, style)
        last = number == len(texts) - 1
        if not last and extent[0] > max(box[2] - box[0], size[0] / 4):
            continue  # a long text would dwarf its box
        for area in _places(box, extent, size, style):
            if all(_covered(area, other.area) < 0.04 for other in placed):
                return Label(text, area, index)
    return None


def measure(text: str, style: Style) -> tuple[float, float]:
    """(width, height) of a label with its padding. The height is the font's, so that labels in a row line up."""
    face = font(style.font)
    return face.getlength(text) + 2 * style.pad + 1, sum(face.getmetrics()) + style.pad


def _places(box: Rectangle, extent: tuple[float, float], size: tuple[int, int], style: Style) -> Iterator[Rectangle]:
    """Above, inside and below, left before right; each pushed into the image."""
    x1, y1, x2, y2 = box
    width, height = extent
    half = style.line / 2
    left, right = x1 - half, x2 + half - width
    # The label touches the box's outer edge, and shares its corner.
    above, inside, below, bottom = y1 - half - height, y1 - half, y2 + half, y2 + half - height
    for top in (above, inside, below, bottom):
        for start in (left, right):
            if top is above and top < 0 or top is below and top + height > size[1]:
                continue
            x = min(max(0.0, start), max(0.0, size[0] - width))
            y = min(max(0.0, top), max(0.0, size[1] - height))
            yield x, y, min(x + width, size[0]), min(y + height, size[1])


def _covered(first: Rectangle, second: Rectangle) -> float:
    """Share of the smaller rectangle that lies under the other."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / max(min(_area(first), _area(second)), 1e-9)


def _area(rectangle: Rectangle) -> float:
    return (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1])
