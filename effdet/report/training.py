"""Curves of a training, from its ``metrics.csv``."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from effdet.html import Html, Section, figure, grid, heading, image, line_chart, section, table
from effdet.renamed import new_name
from effdet.report.base import thinned

Points = list[tuple[float, float]]
MOST = 1500
"""Points of a curve; longer ones keep every n-th."""
_NOT_LOSSES = ("lr", "grad_norm", "images_per_second", "memory_gib")
_VALIDATION = "val/"


def read_curves(path: Path) -> dict[str, Points]:
    """``{column: [(step, value), …]}`` of every numeric column; blank cells are left out.

    A run that was resumed writes steps again that came after its checkpoint: the last one written counts.
    """
    columns: dict[str, dict[float, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            step = _number(row.pop("step", None))
            row.pop("epoch", None)
            for name, text in row.items():
                value = _number(text)
                if name is not None and step is not None and value is not None:
                    columns.setdefault(new_name(name) or name, {})[step] = value
    return {name: thinned(sorted(points.items()), MOST) for name, points in columns.items()}


PSEUDO = "pseudo/"
"""Columns of what pseudo-labels were: ``pseudo/HEAD/CLASS`` and ``pseudo/HEAD_confidence``, once an epoch."""
PSEUDO_GRID = "pseudo_labels.jpg"


def pseudo_label_section(curves: Mapping[str, Points], drawn: Path) -> Section | None:
    """What the averaged model said of the images without labels, an epoch each; None where there were none.

    Args:
        drawn: an image grid of some; not there is fine.
    """
    heads = [
        name.removeprefix(PSEUDO).removesuffix("_confidence")
        for name in curves
        if name.startswith(PSEUDO) and name.endswith("_confidence") and "/" not in name.removeprefix(PSEUDO)
    ]
    if not heads:
        return None
    parts: list[Html | str] = []
    for head in heads:
        start, confidence = f"{PSEUDO}{head}/", curves[f"{PSEUDO}{head}_confidence"]
        amounts = {name.removeprefix(start): points for name, points in curves.items() if name.startswith(start)}
        rows = [[name, points[0][1], points[-1][1]] for name, points in amounts.items()]
        charts = [
            _chart("Amount by class", amounts, y_label="an epoch"),
            _chart("Mean confidence", {head: confidence}, bounded=True),
        ]
        parts += [
            heading(head),
            grid(*(figure(chart) for chart in charts if chart is not None), least="24rem"),
            table(["class", "first epoch", "last epoch"], rows, limit=20),
        ]
    parts.append(
        "Amounts are anchors weighted by their scores for boxes, images for classes, and pixels as shares of an image for "
        "segmentation maps. A class that fades away here is one that the averaged model forgets."
    )
    if drawn.is_file():
        with Image.open(drawn) as drawing:
            parts.append(
                figure(image(drawing.convert("RGB"), alt="pseudo-labels"), "What it says of some of the images.")
            )
    return section("Pseudo-labels", *parts)


def training_section(curves: Mapping[str, Points]) -> Section:
    """Loss terms, validation, learning rate and gradient norm, by step."""
    losses = {
        name: points
        for name, points in curves.items()
        if name not in _NOT_LOSSES and not name.startswith((_VALIDATION, PSEUDO))
    }
    validation = {
        name.removeprefix(_VALIDATION): points for name, points in curves.items() if name.startswith(_VALIDATION)
    }
    charts = [_chart("Loss", losses, y_label="loss")]
    charts += [_chart(title, values, bounded=True) for title, values in _validation_groups(validation)]
    charts.append(_chart("Learning rate", _only(curves, "lr")))
    charts.append(_chart("Gradient norm", _only(curves, "grad_norm"), log=True))
    charts.append(_chart("Speed", _only(curves, "images_per_second"), y_label="images a second"))
    return section("Training", grid(*(figure(chart) for chart in charts if chart is not None), least="24rem"))


def _validation_groups(validation: Mapping[str, Points]) -> list[tuple[str, dict[str, Points]]]:
    """The main metrics in one chart, all others in a second."""
    main = ("AP", "AP50", "AP75", "mIoU", "category_mIoU", "pixel_accuracy", "top1", "top5")
    first = {name: validation[name] for name in main if name in validation}
    second = {name: points for name, points in validation.items() if name not in first}
    return [("Validation", first), ("Validation, all else", second)]


def _chart(title: str, series: Mapping[str, Points], *, y_label: str = "", log: bool = False, bounded: bool = False):
    kept = {name: points for name, points in series.items() if any(y >= 0 for _, y in points) or not bounded}
    if not any(kept.values()):
        return None
    few = max(len(points) for points in kept.values()) <= 40
    return line_chart(
        kept,
        title=title,
        x_label="step",
        y_label=y_label,
        y_log=log,
        marks="both" if few else "line",
        width=560,
        height=320,
    )


def _only(curves: Mapping[str, Points], name: str) -> dict[str, Points]:
    return {name: curves[name]} if name in curves else {}


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
