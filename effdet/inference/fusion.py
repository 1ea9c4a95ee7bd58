"""The neck's learned fusion weights, to look at (EfficientDet, arXiv 1911.09070, section 3.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from effdet.html import Page, figure, grid, section
from effdet.report.facts import FusionShares, fusion_figures
from heads.structures import UserError


@torch.no_grad()
def fusion_shares(model: nn.Module) -> list[FusionShares]:
    """How much of each input every node takes, cell by cell in the order of computation.

    Args:
        model: a `VisionModel` or `FoldedModel`.

    Returns:
        A row for each node that weighs its inputs; empty for a model without a neck or with plain sums.
    """
    network: Any = getattr(model, "model", model)
    cells: Any = () if network.neck is None else network.neck.cells
    rows = []
    for number, cell in enumerate(cells):
        for node in cell.nodes:
            shares = getattr(cell, node.path)[node.level].fuse.shares()
            if shares is not None:
                pairs = tuple(zip(node.inputs, shares.tolist(), strict=True))
                rows.append(FusionShares(number, node.path, node.level, pairs))
    return rows


def fusion_page(model: nn.Module, *, title: str = "Fusion weights") -> Page:
    """The shares as a page: ``fusion_page(effdet.load("runs/x")).write("fusion.html")``.

    Raises:
        UserError: the neck has no learned fusion weights.
    """
    shares = fusion_shares(model)
    if not shares:
        raise UserError("this model's neck has no fusion weights: it sums plainly, or there is no neck")
    return Page(title).add(section("Shares by level", grid(*(figure(chart) for chart in fusion_figures(shares)))))
