"""What the first weights of a training brought: which rows of which heads are trained, and which start at their prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from effdet.model import VisionModel
from effdet.weights.report import LoadReport

NOTHING = 0.01
"""AP below which weights detect nothing. A network of random weights is at 0.000."""
ENOUGH = 10
"""Boxes that it takes to say so."""


@dataclass(frozen=True)
class Start:
    """The state that a training begins in. The default is that of random weights."""

    scope: str = "none"
    """``none``, ``backbone`` or ``model``: what a file has filled."""
    whole: bool = False
    """The file has filled all that its scope names."""
    source: str | None = None
    """Of the weights."""
    carried: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By head: the classes (0…K-1) whose rows came from the file."""
    fresh: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By head: the classes that start at the prior though the head's other layers came from the file."""

    @property
    def detects(self) -> bool:
        """The weights predict at least one of the model's classes before any training."""
        return any(self.carried.values())

    def is_fresh(self, head: str) -> bool:
        """All of this head has its initial weights."""
        return not self.carried.get(head) and not self.fresh.get(head)


@dataclass(frozen=True)
class Detected:
    """What loaded weights find on a few images of val before training, of the classes that were carried over."""

    ap: float
    """Mean AP of those classes that have boxes here."""
    images: int
    boxes: int
    """Of those classes."""

    @property
    def nothing(self) -> bool:
        """The weights detect nothing, as far as so few boxes can tell."""
        return self.boxes >= ENOUGH and self.ap < NOTHING

    def __str__(self) -> str:
        return f"AP {self.ap:.3f} on {self.images} val images with {self.boxes} boxes of classes that they know"


def start_of(model: VisionModel, report: LoadReport | None) -> Start:
    """The state of `model` after the load that `report` tells of; None for no load."""
    if report is None:
        return Start()
    if report.scope != "model":
        return Start(report.scope, report.complete, report.source)
    carried: dict[str, tuple[int, ...]] = {}
    fresh: dict[str, tuple[int, ...]] = {}
    filled = {key.split(".")[1] for key in report.matched if key.startswith("heads.")}
    by_layer = {layer.layer.split(".")[1]: layer for layer in report.carried_over}
    unfilled = {key.split(".")[1] for key in report.missing if key.startswith("heads.")}
    unfilled |= {key.split(".")[1] for key, _, _ in report.changed_shape if key.startswith("heads.")}
    for head, table in model.classes.items():
        named = tuple(row for row, name in enumerate(table.names) if name is not None)
        if head in by_layer:
            new = set(by_layer[head].fresh)
            fresh[head] = tuple(row for row in named if table.names[row] in new)
            carried[head] = tuple(row for row in named if table.names[row] not in new)
        elif head in filled and head not in unfilled:
            carried[head] = named
    return Start("model", report.complete, report.source, carried, fresh)
