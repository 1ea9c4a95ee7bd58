"""An image of the neck's learned fusion weights (EfficientDet, arXiv 1911.09070, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from effdet.html import Html, heat_map


@dataclass(frozen=True)
class FusionShares:
    """One node of one cell of the neck."""

    cell: int
    """Which repeat of the neck, from 0."""
    path: str
    """``td`` (down from coarse to fine) or ``out`` (up again) in a BiFPN."""
    level: str
    """``P3`` …"""
    shares: tuple[tuple[str, float], ...]
    """``(input, share)``: the inputs as the topology names them, ``in.P4``, ``td.P5``; shares sum to about 1."""


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


_PATHS = {"td": "top-down", "out": "bottom-up"}


def _kind(name: str, level: str) -> str:
    """What an input is to its node: the cell's own input, another node of this level, or the neighbour level."""
    path, _, source = name.partition(".")
    if source == level:
        return "input" if path == "in" else "same level"
    return "from above" if int(source[1:]) > int(level[1:]) else "from below"
