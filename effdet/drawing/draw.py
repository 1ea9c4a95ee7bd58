"""Boxes, labels, segmentation maps and heat maps on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from effdet.drawing.colours import Colour, class_colours, ink, lifted, spread
from effdet.drawing.labels import Label, Rectangle, place
from effdet.drawing.style import Style, font, with_legend
from effdet.pixels import rgb
from heads.structures import UserError

ImageLike = Image.Image | np.ndarray
"""A PIL image of any mode, or (H, W, 3) uint8 RGB."""

_SMOOTH_BELOW = 1400
"""Images whose longer side is under this are drawn at twice the size and reduced: smooth corners where lines are thin."""


STOPS = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float64)
"""RGB from cold to hot in equal steps; lightness rises throughout, so that it reads in grey and to the colour-blind."""


def draw(
    image: ImageLike,
    boxes: Any = None,
    labels: Any = None,
    scores: Any = None,
    names: Sequence[str | None] | None = None,
    *,
    semantic: Any = None,
    semantic_names: Sequence[str | None] | None = None,
    palette: Sequence[Colour] | None = None,
    semantic_palette: Sequence[Colour] | None = None,
    alpha: float = 0.5,
    legend: bool = False,
) -> Image.Image:
    """A copy of `image` with boxes, their labels and a segmentation map drawn on it.

    Args:
        image: PIL image, or (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy, pixels of `image`. Array, tensor or list; parts outside the image are cut off.
        labels: (N,) class of each box; rows of -1 are padding and left out. None draws all boxes as class 0, unlabelled.
        scores: (N,) 0…1, written beside the name and drawn highest on top. None writes only names.
        names: class names by class. None writes class numbers.
        semantic: (H, W) segmentation map of the image's size; 255 is left clear.
        semantic_names: names of the map's classes, where they are not `names`.
        palette: RGB of the boxes by class; None takes `class_colours` of the names.
        semantic_palette: the same for the map.
        alpha: 0…1, how much of the map's colour covers the image.
        legend: add a strip below with the classes that are in the image (the result is taller then).

    Returns:
        An RGB image of the same size (without the legend).
    """
    canvas = as_image(image)
    rectangles, classes, values = _checked(boxes, labels, scores)
    colours = _palette(palette, names, classes)
    entries: list[tuple[str, Colour]] = []
    if semantic is not None:
        map_names = semantic_names if semantic_names is not None else names
        canvas, found = _blended(canvas, np.asarray(semantic), semantic_palette, map_names, alpha)
        entries += found
    if len(rectangles):
        canvas = _with_boxes(canvas, rectangles, classes, values, labels is not None, names, colours)
        entries += [(_name(names, label), colours[label]) for label in sorted({int(label) for label in classes})]
    return with_legend(canvas, list(dict(entries).items())) if legend and entries else canvas


def as_image(image: ImageLike) -> Image.Image:
    """An RGB copy of a PIL image or of an (H, W, 3) uint8 array (grey (H, W) will do)."""
    if isinstance(image, Image.Image):
        return rgb(image) if image.mode != "RGB" else image.copy()
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise UserError(f"image must be a PIL image or (H, W, 3) uint8 RGB, got {array.dtype} {array.shape}")
    return Image.fromarray(array).convert("RGB")


def _checked(boxes: Any, labels: Any, scores: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rectangles = np.zeros((0, 4)) if boxes is None else as_numpy(boxes).astype(np.float64).reshape(-1, 4)
    count = len(rectangles)
    classes = np.zeros(count, np.int64) if labels is None else as_numpy(labels).astype(np.int64).reshape(-1)
    values = None if scores is None else as_numpy(scores).astype(np.float64).reshape(-1)
    if len(classes) != count or (values is not None and len(values) != count):
        raise UserError(
            f"there are {count} boxes, {len(classes)} labels and {'no' if values is None else len(values)} scores: "
            "they must be equally many"
        )
    keep = (classes >= 0) & np.isfinite(rectangles).all(1)
    return rectangles[keep], classes[keep], None if values is None else values[keep]


def as_numpy(values: Any) -> np.ndarray:
    """An array of a list, or of a tensor on any device."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _palette(palette: Sequence[Colour] | None, names: Sequence[str | None] | None, classes: np.ndarray) -> list[Colour]:
    """A colour for every class that occurs, those past the palette's or the names' end too."""
    colours = list(palette) if palette is not None else class_colours(names or ())
    highest = int(classes.max()) if classes.size else -1
    return colours + [spread(index) for index in range(len(colours), highest + 1)]


def _present(
    classes: np.ndarray, names: Sequence[str | None] | None, palette: Sequence[Colour] | None
) -> dict[int, Colour]:
    """The classes that occur in segmentation maps of any shape, by rising number, with their colours."""
    present = np.flatnonzero(np.bincount(classes.ravel(), minlength=256)[:255])
    colours = _palette(palette, names, present)
    return {label: colours[label] for label in present.tolist()}


def class_entries(classes: np.ndarray, names: Sequence[str | None] | None) -> list[tuple[str, Colour]]:
    """(name, colour) of the classes that occur in segmentation maps of any shape, by class."""
    return [(_name(names, label), colour) for label, colour in _present(classes, names, None).items()]


def _name(names: Sequence[str | None] | None, label: int) -> str:
    name = names[label] if names is not None and label < len(names) else None
    return str(label) if name is None else str(name)


def _with_boxes(
    canvas: Image.Image,
    boxes: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray | None,
    labelled: bool,
    names: Sequence[str | None] | None,
    colours: list[Colour],
) -> Image.Image:
    width, height = canvas.size
    style = Style.fitting(width, height)
    # The line's outer edge stays inside the image.
    margin = style.line / 2
    limits = np.array([width - margin, height - margin] * 2)
    frames: list[Rectangle] = [tuple(row) for row in np.clip(boxes, margin, np.maximum(limits, margin)).tolist()]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # Without scores the small ones go on top, so that none is buried.
    order = [int(index) for index in np.argsort(areas if scores is None else -scores, kind="stable")]
    tints = [lifted(colours[int(label)]) for label in classes]

    _stroke(canvas, frames, tints, order[::-1], style)
    if labelled:
        texts = [
            _texts(_name(names, int(label)), None if scores is None else scores[row])
            for row, label in enumerate(classes)
        ]
        _write(canvas, place(frames, texts, order, (width, height), style), tints, style)
    return canvas


def _texts(name: str, score: float | None) -> tuple[str, ...]:
    return (name,) if score is None else (f"{name} {score:.2f}", name)


def _stroke(canvas: Image.Image, frames: list[Rectangle], tints: list[Colour], order: list[int], style: Style) -> None:
    """Rounded outlines with a thin dark (or, for dark colours, light) rim that keeps them visible on any ground."""
    scale = 2 if max(canvas.size) < _SMOOTH_BELOW else 1
    layer = Image.new("RGBA", (canvas.width * scale, canvas.height * scale), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    half, rim = style.line * scale / 2, max(1, round(style.line * scale * 0.3))
    for index in order:
        x1, y1, x2, y2 = (value * scale for value in frames[index])
        x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
        tint = tints[index]
        shade = (0, 0, 0, 110) if ink(tint) != (255, 255, 255) else (255, 255, 255, 90)
        wide, radius = round(2 * half), style.corner * scale
        _frame(pen, (x1, y1, x2, y2), half + rim, radius, shade, wide + 2 * rim)
        _frame(pen, (x1, y1, x2, y2), half, radius, (*tint, 255), wide)
    if scale > 1:
        layer = layer.resize(canvas.size, Image.Resampling.BOX)
    canvas.paste(layer, mask=layer)


def _frame(
    pen: ImageDraw.ImageDraw, box: Rectangle, grow: float, radius: float, colour: tuple[int, ...], width: int
) -> None:
    x1, y1, x2, y2 = round(box[0] - grow), round(box[1] - grow), round(box[2] + grow), round(box[3] + grow)
    radius = round(min(radius, (box[2] - box[0]) / 4, (box[3] - box[1]) / 4) + grow)
    if min(x2 - x1, y2 - y1) <= 2 * max(radius, width) + 2:  # too small to have corners
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=width)
    else:
        pen.rounded_rectangle((x1, y1, x2, y2), radius, outline=colour, width=width)


def _write(canvas: Image.Image, labels: list[Label], tints: list[Colour], style: Style) -> None:
    """Labels as rounded plates in the class's colour; the most important last, so on top."""
    pen = ImageDraw.Draw(canvas)
    for label in reversed(labels):
        x1, y1, x2, y2 = (round(value) for value in label.area)
        tint = tints[label.box]
        pen.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), style.corner, fill=tint)
        middle = (y1 + y2) / 2
        pen.text((x1 + style.pad, middle), label.text, fill=ink(tint), font=font(style.font), anchor="lm")


def _blended(
    canvas: Image.Image,
    classes: np.ndarray,
    palette: Sequence[Colour] | None,
    names: Sequence[str | None] | None,
    alpha: float,
) -> tuple[Image.Image, list[tuple[str, Colour]]]:
    """The image under a segmentation map's colours, with a fine line where classes meet; and the classes found."""
    if classes.shape != (canvas.height, canvas.width):
        raise UserError(f"semantic must be ({canvas.height}, {canvas.width}) like the image, got {classes.shape}")
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha} must lie in 0…1")
    found = _present(classes, names, palette)
    lookup = np.zeros((256, 3), np.float32)
    cover = np.zeros(256, np.float32)
    for label, colour in found.items():
        lookup[label], cover[label] = colour, alpha
    share = cover[classes][..., None]
    mixed = np.asarray(canvas, np.float32) * (1 - share) + lookup[classes] * share
    edge = _edges(classes, max(1, Style.fitting(*canvas.size).line // 3))
    mixed[edge] = mixed[edge] * 0.45 + 255 * 0.55 * alpha + mixed[edge] * 0.55 * (1 - alpha)
    image = Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))
    return image, [(_name(names, label), colour) for label, colour in found.items()]


def _edges(classes: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: pixels whose class differs from that `width` to the right or below."""
    edge = np.zeros(classes.shape, bool)
    edge[:, :-width] |= classes[:, :-width] != classes[:, width:]
    edge[:-width] |= classes[:-width] != classes[width:]
    return edge


def with_heat(image: ImageLike, heat: np.ndarray, *, alpha: float = 0.55) -> Image.Image:
    """A copy of `image` with `heat` laid over it.

    Args:
        image: PIL image or (H, W, 3) uint8 RGB.
        heat: (H, W) float, 0 … 1; numbers beyond are clipped.
        alpha: 0…1, how much of the heat's colour covers the image; cold places are left clearer than hot ones.
    """
    base = as_image(image)
    values = np.clip(np.nan_to_num(np.asarray(heat, np.float64)), 0, 1)
    if values.shape != (base.height, base.width):
        raise UserError(f"heat is {values.shape} and the image ({base.height}, {base.width}): sizes must agree")
    steps = np.linspace(0, 1, len(STOPS))
    colours = np.stack([np.interp(values, steps, STOPS[:, channel]) for channel in range(3)], axis=-1)
    cover = (alpha * (0.35 + 0.65 * values))[..., None]
    return Image.fromarray((np.asarray(base) * (1 - cover) + colours * cover).round().astype(np.uint8))
