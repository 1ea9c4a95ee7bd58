"""What the numbers were measured with: data, model, machine, configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from effdet.html import (
    Html,
    Section,
    bar_chart,
    callout,
    details,
    figure,
    grid,
    heading,
    heat_map,
    listing,
    section,
    table,
    text,
)

MOST_CLASSES = 40
MOST_WARNINGS = 20
_PATHS = {"td": "top-down", "out": "bottom-up"}


@dataclass(frozen=True)
class FusionShares:
    """Learned fusion weights of one node of one cell of the neck (EfficientDet, arXiv 1911.09070, section 3.3)."""

    cell: int
    """Which repeat of the neck, from 0."""
    path: str
    """``td`` (down from coarse to fine) or ``out`` (up again) in a BiFPN."""
    level: str
    """``P3`` …"""
    shares: tuple[tuple[str, float], ...]
    """``(input, share)``: the inputs as the topology names them, ``in.P4``, ``td.P5``; shares sum to about 1."""


@dataclass(frozen=True)
class DataFacts:
    """One split."""

    name: str
    split: str
    images: int
    fingerprint: str
    """sha256 of what it labels."""
    boxes: Mapping[str, int] = field(default_factory=dict)
    """True boxes by class, crowds left out; empty where it labels none."""
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """All of it; what is empty is left out of the page."""

    data: Sequence[DataFacts] = ()
    model: Mapping[str, str] = field(default_factory=dict)
    """Name, weights and their hash, parameters, input …"""
    machine: Mapping[str, str] = field(default_factory=dict)
    """Hardware and versions."""
    times: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    """As YAML."""
    fusion: Sequence[FusionShares] = ()
    """Learned weights of the neck, a row of them for each node."""


def data_section(splits: Sequence[DataFacts]) -> Section | None:
    """Sizes, classes and warnings of each split."""
    if not splits:
        return None
    rows = [
        [facts.split, facts.name, facts.images, sum(facts.boxes.values()) or None, facts.fingerprint[:12]]
        for facts in splits
    ]
    parts: list[Html] = [table(["split", "data", "images", "boxes", "fingerprint"], rows)]
    for facts in splits:
        if facts.warnings:
            lines = "\n".join(facts.warnings[:MOST_WARNINGS])
            more = len(facts.warnings) - MOST_WARNINGS
            parts.append(
                callout(
                    f"{facts.split}: {len(facts.warnings)} warnings",
                    listing(lines + (f"\n… {more} more" if more > 0 else "")),
                    tone="warning",
                )
            )
    charts = [figure(_classes(facts)) for facts in splits if facts.boxes]
    return section("Data", *parts, grid(*charts, least="24rem") if charts else None)


def setup_section(facts: Facts) -> Section | None:
    """Model, times, machine and configuration."""
    parts: list[Html] = []
    for title, rows in (("Model", facts.model), ("Time", facts.times), ("Machine", facts.machine)):
        if rows:
            parts += [heading(title), table(["", ""], [[key, value] for key, value in rows.items()])]
    if facts.config:
        parts += [heading("Configuration"), details("all keys", listing(facts.config))]
    return section("Model and machine", *parts) if parts else None


def fusion_section(shares: Sequence[FusionShares]) -> Section | None:
    """How much of each input the neck's nodes take."""
    if not shares:
        return None
    return section(
        "Fusion weights",
        text(
            "Each node of the neck sums its inputs by learned shares. Rows are levels; an even split would be 0.50 or 0.33. "
            "A share near 0 is a connection that the model does without."
        ),
        grid(*(figure(chart) for chart in fusion_figures(shares)), least="20rem"),
    )


def fusion_figures(nodes: Sequence[FusionShares]) -> list[Html]:
    """A heat map for each cell and path: a row for each level, finest below, a column for each kind of input."""
    figures = []
    for cell in sorted({node.cell for node in nodes}):
        for path in dict.fromkeys(node.path for node in nodes if node.cell == cell):
            rows = sorted((n for n in nodes if n.cell == cell and n.path == path), key=lambda n: -int(n.level[1:]))
            columns = list(dict.fromkeys(_kind(name, node.level) for node in rows for name, _ in node.shares))
            columns.sort(key=("input", "same level", "from above", "from below").index)
            matrix = np.full((len(rows), len(columns)), np.nan)
            for row, node in enumerate(rows):
                for name, share in node.shares:
                    matrix[row, columns.index(_kind(name, node.level))] = share
            figures.append(
                heat_map(
                    matrix,
                    [node.level for node in rows],
                    columns,
                    title=f"cell {cell + 1}, {_PATHS.get(path, path)}",
                    bounds=(0, 1),
                    write=lambda value: f"{value:.2f}",
                    width=360,
                )
            )
    return figures


def _kind(name: str, level: str) -> str:
    """What an input is to its node: the cell's own input, another node of this level, or the neighbour level."""
    path, _, source = name.partition(".")
    if source == level:
        return "input" if path == "in" else "same level"
    return "from above" if int(source[1:]) > int(level[1:]) else "from below"


def _classes(facts: DataFacts) -> Html:
    ordered = sorted(facts.boxes.items(), key=lambda entry: -entry[1])
    shown, rest = ordered[:MOST_CLASSES], ordered[MOST_CLASSES:]
    if rest:
        shown = [*shown, (f"{len(rest)} other classes", sum(count for _, count in rest))]
    return bar_chart(
        [name for name, _ in shown],
        {"boxes": [count for _, count in shown]},
        title=f"Boxes of {facts.split} by class",
        width=560,
    )
