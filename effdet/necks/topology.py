"""The wiring of one neck cell, as data: which node fuses which, in the order of computation.

A node is called ``PATH.LEVEL``: ``in.P5`` is the cell's input at stride 32, ``td.P5`` its top-down node, ``out.P5`` its
bottom-up node. Names go by level and direction, not by number, so that a detector's P3–P7 weights also fit a wider neck
wherever a node fuses the same inputs. The outputs of a cell are the last node of each level.

    BiFPN (EfficientDet, arXiv 1911.09070, figure 2d)         in       td       out
                                                         P7   o ─────────────── o
                                                         P6   o ────── o ────── o     out.P6 fuses in, td and out.P5
                                                         P5   o ────── o ────── o
                                                         P4   o ────── o ────── o
                                                         P3   o ────── o              the lowest node is its own output
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heads.structures import UserError


@dataclass(frozen=True)
class Node:
    """One fusion: `inputs` are resampled to `level` and summed, in this order."""

    path: str
    level: str
    inputs: tuple[str, ...]
    fusion: str | None = None
    """The rule that the wiring itself fixes (the quad FPN's last path); None takes the neck's."""

    @property
    def name(self) -> str:
        return f"{self.path}.{self.level}"


def level_number(level: str) -> int:
    """``"P5"`` -> 5, the base-2 logarithm of the stride."""
    return int(level[1:])


def bifpn(levels: tuple[str, ...]) -> tuple[Node, ...]:
    """EfficientDet's figure 2d: down from the coarsest level, then up again, with a skip from the input."""
    top = levels[-1]
    nodes, above = [], f"in.{top}"
    for level in reversed(levels[:-1]):
        nodes.append(Node("td", level, (f"in.{level}", above)))
        above = f"td.{level}"
    below = above
    for level in levels[1:]:
        middle = () if level == top else (f"td.{level}",)
        nodes.append(Node("out", level, (f"in.{level}", *middle, below)))
        below = f"out.{level}"
    return tuple(nodes)


def fpn(levels: tuple[str, ...]) -> tuple[Node, ...]:
    """Figure 2a (arXiv 1612.03144): top-down only."""
    nodes, above = [], ()
    for level in reversed(levels):
        nodes.append(Node("td", level, (f"in.{level}", *above)))
        above = (f"td.{level}",)
    return tuple(nodes)


def panet(levels: tuple[str, ...]) -> tuple[Node, ...]:
    """Figure 2b (arXiv 1803.01534): top-down, then bottom-up, each node with a path's neighbour and nothing skipped."""
    nodes, below = list(fpn(levels)), ()
    for level in levels:
        nodes.append(Node("out", level, (f"td.{level}", *below)))
        below = (f"out.{level}",)
    return tuple(nodes)


def quad(levels: tuple[str, ...]) -> tuple[Node, ...]:
    """Quad-FPN of the EfficientDet-Q models: down and up beside up and down, summed level by level."""
    bottom, top, inner = levels[0], levels[-1], levels[1:-1]
    nodes, last = [], f"in.{top}"
    for level in reversed(levels[:-1]):  # path 1, down
        nodes.append(Node("down1", level, (f"in.{level}", last)))
        last = f"down1.{level}"
    for level in inner:  # path 2, up: on top of path 1
        nodes.append(Node("up1", level, (f"in.{level}", f"down1.{level}", last)))
        last = f"up1.{level}"
    nodes.append(Node("up1", top, (f"in.{top}", last)))
    last = f"in.{bottom}"
    for level in levels[1:]:  # path 3, up: from the inputs
        nodes.append(Node("up2", level, (f"in.{level}", last)))
        last = f"up2.{level}"
    for level in reversed(inner):  # path 4, down: on top of path 3
        nodes.append(Node("down2", level, (f"in.{level}", f"up2.{level}", last)))
        last = f"down2.{level}"
    nodes.append(Node("down2", bottom, (f"in.{bottom}", last)))
    for level in levels:
        first = f"down1.{level}" if level == bottom else f"up1.{level}"
        second = f"up2.{level}" if level == top else f"down2.{level}"
        nodes.append(Node("out", level, (first, second), fusion="fast"))
    return tuple(nodes)


TOPOLOGIES: dict[str, Callable[[tuple[str, ...]], tuple[Node, ...]]] = {
    "bifpn": bifpn,
    "fpn": fpn,
    "panet": panet,
    "quad": quad,
}


def topology(kind: str, levels: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes of one cell of `kind` over `levels`, which must be consecutive, finest first."""
    if kind not in TOPOLOGIES:
        raise UserError(f"neck kind {kind!r} is unknown; use one of {', '.join(TOPOLOGIES)}")
    numbers = [level_number(level) for level in levels]
    if len(levels) < 2 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise UserError(f"neck levels {levels} must be two or more consecutive ones, finest first, as P3, P4, …, P7")
    return TOPOLOGIES[kind](tuple(levels))


def last_nodes(nodes: tuple[Node, ...]) -> dict[str, str]:
    """Level -> name of its last node, the cell's output."""
    return {node.level: node.name for node in nodes}


def reaching(nodes: tuple[Node, ...], levels: Sequence[str]) -> tuple[Node, ...]:
    """The nodes that the outputs at `levels` depend on, in their order."""
    outputs = last_nodes(nodes)
    requested = {outputs[level] for level in levels}
    for node in reversed(nodes):
        if node.name in requested:
            requested |= set(node.inputs)
    return tuple(node for node in nodes if node.name in requested)
