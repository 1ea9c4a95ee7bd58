"""What the first weights of a training brought: which rows of which heads are trained, which start at their prior, and whether
training and evaluation mode compute the same function. They do for weights whose BatchNorm statistics are their own.

Training normalises by the batch's statistics, evaluation by the stored ones. Where the stored ones are not those of the
features (norms that were folded away and came back as identities, statistics of another model), the first step in training
mode works with another function than the one that was loaded, and what the weights knew is lost within an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from backbones.protocol import by_level
from effdet.model import VisionModel
from effdet.plurals import counted
from effdet.weights.report import LoadReport
from heads.detection import DetectionHead

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
    without_boxes: frozenset[str] = frozenset()
    """Detection heads whose last box layer starts anew, as it predicts boxes in another form than the file's."""

    @property
    def detects(self) -> bool:
        """The weights predict at least one of the model's classes before any training."""
        return any(self.detected(head) for head in self.carried)

    def detected(self, head: str) -> tuple[int, ...]:
        """The classes of `head` that are predicted before any training."""
        return () if head in self.without_boxes else self.carried.get(head, ())

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
        known = counted(self.boxes, "box")
        return f"AP {self.ap:.3f} on {counted(self.images, 'val image')} with {known} of classes that they know"


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
    without = {head for head in (*carried, *fresh) if any(key.startswith(_box_layer(head)) for key in report.fresh)}
    return Start("model", report.complete, report.source, carried, fresh, frozenset(without))


def _box_layer(head: str) -> str:
    return f"heads.{head}.box_net.predict."


VALUES = 64
"""Levels with fewer values a channel (images times cells) are left out: their batch statistics are mostly noise."""
LEAST: Mapping[str, float] = {"maps": 0.25, "logits": 0.45, "boxes": 0.63}
"""Least mean correlation over the levels, each about half way between what was measured for weights with and without their
statistics: EfficientDet-Lite0 and its backbone on four images of COCO, raccoon, BCCD, CamVid and of noise. Most of what is
missing to 1 is the data's difference from the images that the statistics are of. Images of one colour throughout have no
statistics to speak of: logits 0.35.

    maps    C3 to C5 of the backbone                    0.47 and more on images (noise 0.18); at most 0.04 without
    logits  mean of class logits' and box deltas'       0.54 and more; at most 0.34 without
    boxes   box deltas, where no class was carried over 0.76 and more; at most 0.50 without
"""


@dataclass(frozen=True)
class Agreement:
    """How far training and evaluation mode agree, where that could be measured."""

    kind: str
    """A key of :data:`LEAST`."""
    levels: Mapping[str, float]
    """Correlation between the modes, by level: ``P3``, … of a detection head, or ``C3``, … of the backbone."""

    @property
    def mean(self) -> float:
        return sum(self.levels.values()) / len(self.levels)

    @property
    def enough(self) -> bool:
        return self.mean >= LEAST[self.kind]

    def __str__(self) -> str:
        return ", ".join(f"{level} {value:.2f}" for level, value in self.levels.items())


@torch.no_grad()
def agreement(model: Any, images: Tensor, start: Start, held: Sequence[nn.Module] = ()) -> Agreement | None:
    """Correlation between training and evaluation mode, by level, of what the weights have filled.

    Of a model file with a detection head these are its logits, else the maps of the backbone.

    Args:
        model: a `VisionModel`, with dropout off; its statistics move, and it is left in training mode.
        images: (B, 3, H, W) float, normalised.
        held: modules that training holds in evaluation mode (``freeze=``).

    Returns:
        None where a file did not fill all that it is for, or no level has :data:`VALUES` values a channel.
    """
    if not start.whole or start.scope == "none":
        return None
    detectors = [name for name, head in model.heads.items() if isinstance(head, DetectionHead)]
    loaded = [name for name in detectors if start.scope == "model" and not start.is_fresh(name)]
    head = next((name for name in loaded if start.carried.get(name) or name not in start.without_boxes), None)
    read = _Reader(
        model, head, start.carried.get(head, ()) if head is not None else (), head not in start.without_boxes
    )
    evaluated = read(images, training=False)
    trained = read(images, training=True, held=held)
    levels = {
        level: sum(map(_correlation, trained[level], parts)) / len(parts)
        for level, parts in evaluated.items()
        if len(parts[0]) >= VALUES
    }
    kind = "maps" if head is None else "logits" if read.rows else "boxes"
    return Agreement(kind, levels) if levels else None


class _Reader:
    """``read(images, training=)``: by level, tensors (values a channel, channels) of what was loaded."""

    def __init__(self, model: Any, head: str | None, rows: Sequence[int], boxes: bool) -> None:
        self.model, self.head, self.rows, self.boxes = model, head, list(rows), boxes

    def __call__(self, images: Tensor, *, training: bool, held: Sequence[nn.Module] = ()) -> dict[str, list[Tensor]]:
        self.model.train(training)
        for module in held:
            module.eval()
        if self.head is None:
            maps = by_level(self.model.backbone, self.model.backbone(images))
            return {level: [maps[level].movedim(1, -1).flatten(0, 2)] for level in ("C3", "C4", "C5")}
        output = self.model(images)[self.head]
        parts = [output.class_logits[..., self.rows]] if self.rows else []
        if self.boxes:
            parts.append(output.box_deltas)
        sizes = [height * width for height, width in output.feature_sizes]
        found: dict[str, list[Tensor]] = {level: [] for level in self.model.heads[self.head].in_levels}
        for part in parts:  # (B, A, n)
            cells = part.unflatten(1, (sum(sizes), -1)).flatten(2)  # (B, cells, anchors a cell * n)
            for level, values in zip(found, cells.split(sizes, dim=1), strict=True):
                found[level].append(values.flatten(0, 1))
        return found


def _correlation(one: Tensor, other: Tensor) -> float:
    """Of all values of two tensors; where one is constant, whether they are equal."""
    x, y = one.double().flatten(), other.double().flatten()
    x, y = x - x.mean(), y - y.mean()
    scale = (x.square().sum() * y.square().sum()).sqrt()
    return float((x * y).sum() / scale) if scale > 0 else float(torch.equal(one, other))
