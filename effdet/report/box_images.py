"""The images done best and worst: truth at the left, detections at the right, coloured by right, wrong and missed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from effdet.drawing import draw
from effdet.html import Html, Section, figure, grid, heading, image, section, tag, text
from effdet.report.gallery import Gallery
from effdet.report.statistics import BoxSet, Matches, image_scores

WORST, BEST = 8, 4
SIDE = 480
"""Pixels of a drawn image's longer side."""
MOST_ENLARGED = 2.0
"""Times that a small image is enlarged, so that its labels have room."""
RIGHT, WRONG, MISSED = (38, 166, 91), (222, 49, 73), (240, 150, 20)


def image_section(
    boxes: BoxSet, matches: Matches, threshold: float, positions: Sequence[int], gallery: Gallery
) -> Section:
    """Draw the worst and the best.

    Args:
        boxes, matches: all of them.
        threshold: detections under this score are not shown.
        positions: index in the set of each image.
        gallery: reads images by index in the set.
    """
    scores = image_scores(matches, score=threshold)
    f1 = scores.f1

    def drawn(images: list[int]) -> Html:
        figures = []
        for index in images:
            name = gallery.file_name(positions[index])
            counts = f"{scores.right[index]} right, {scores.wrong[index]} wrong, {scores.missed[index]} missed"
            pair = _pair(boxes, matches, threshold, index, gallery.image(positions[index]))
            views = tag(
                "div",
                *(image(view, alt=f"{name}, {what}") for view, what in zip(pair, ("truth", "found"), strict=True)),
            )
            figures.append(figure(views, f"{name}: F1 {f1[index]:.2f}; {counts}"))
        return grid(*figures, least="22rem")

    worst, best = scores.worst(WORST), scores.best(BEST)
    return section(
        "Images",
        text(
            f"Above the truth (green where found, orange where missed), below it what was found at score {threshold:.3g} and "
            "more (green where right, red where wrong). By F1 of the image."
        ),
        heading("Worst"),
        drawn(worst) if worst else text("No image has a mistake."),
        heading("Best"),
        drawn(best) if best else text("Nothing was found."),
    )


def _pair(
    boxes: BoxSet, matches: Matches, threshold: float, index: int, image: np.ndarray
) -> tuple[Image.Image, Image.Image]:
    reduced = Image.fromarray(image)
    scale = min(MOST_ENLARGED, SIDE / max(reduced.size))
    if scale != 1:
        size = (max(1, round(reduced.width * scale)), max(1, round(reduced.height * scale)))
        reduced = reduced.resize(size, Image.Resampling.BICUBIC)
    true = np.flatnonzero((boxes.true_image == index) & ~boxes.crowd)
    shown = np.flatnonzero((boxes.image == index) & matches.counted & (boxes.score >= threshold))
    found = np.isin(true, matches.truth[shown])
    right = matches.hit[0, shown]
    return (
        _marked(
            reduced,
            boxes.true_box[true] * scale,
            [boxes.names[label] for label in boxes.true_label[true]],
            found,
            MISSED,
        ),
        _marked(
            reduced,
            boxes.box[shown] * scale,
            [f"{boxes.names[boxes.label[row]]} {boxes.score[row]:.2f}" for row in shown],
            right,
            WRONG,
        ),
    )


def _marked(
    image: Image.Image, boxes: np.ndarray, names: list[str], good: np.ndarray, other: tuple[int, int, int]
) -> Image.Image:
    """Boxes (n, 4) xywh, each with its own name, green where `good`."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    palette = [RIGHT if is_good else other for is_good in good]
    return draw(image, corners, np.arange(len(names)), names=names, palette=palette)
