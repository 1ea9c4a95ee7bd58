"""Anchor coverage by class and size, what is short, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from effdet.doctor.coverage import FITTED, FORCED, LOST, CoverageSettings, Matched, best_overlaps, with_size
from effdet.doctor.issues import Issues
from effdet.doctor.reading import Split

SIZES = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, np.inf))
"""COCO's sizes, by area in original pixels."""
ENOUGH = 0.9
"""Share of a group's boxes that should be fitted."""
FEW = 5
"""Groups of fewer boxes are listed, but not warned of."""


@dataclass(frozen=True)
class Group:
    """Boxes of a class (or of all, ``""``) and a size (or of all, ``""``)."""

    name: str
    size: str
    boxes: int
    fitted: float
    """Shares of `boxes`."""
    forced: float
    lost: float
    levels: tuple[int, ...]
    """How many boxes have their best anchor on each level, finest first."""
    positives: float
    """Anchors that learn a box, on average."""


@dataclass(frozen=True)
class Option:
    """Another setting, and the share of boxes for which an anchor of it would reach the threshold."""

    overrides: str
    """As it is written on the command line."""
    fitted: float
    small: float
    """The same among small boxes; NaN where there are none."""


@dataclass(frozen=True)
class Coverage:
    """What came out."""

    title: str
    levels: tuple[int, ...]
    groups: tuple[Group, ...]
    """All boxes, then each size, then each class, then each class and size."""
    options: tuple[Option, ...]

    def to_dict(self) -> dict[str, Any]:
        """For doctor.json."""
        return {
            "settings": self.title,
            "levels": [f"P{level}" for level in self.levels],
            "groups": [vars(group) | {"levels": list(group.levels)} for group in self.groups],
            "options": [
                {key: None if value != value else value for key, value in vars(option).items()}
                for option in self.options
            ],
        }


def coverage_of(
    split: Split, matched: Sequence[Matched], settings: CoverageSettings, issues: Issues
) -> Coverage | None:
    """The coverage of a split's boxes; None where it has none. Groups that are short go to `issues`."""
    records = split.source.records
    counted = ~records.crowd
    if not counted.any():
        return None
    found = Matched.joined(matched)
    labels, bbox = records.labels[counted], records.bbox[counted]
    owner = np.repeat(np.arange(len(records)), np.diff(records.starts))[counted]
    area = bbox[:, 2] * bbox[:, 3]
    everything: np.ndarray = np.ones(len(labels), bool)
    groups = [_group("", "", everything, found, settings)]
    sized = {name: (area >= low) & (area < high) for name, low, high in SIZES}
    groups += [_group("", name, chosen, found, settings) for name, chosen in sized.items()]
    names = [str(name) for name in split.source.classes.names]
    classes = {name: labels == label for label, name in enumerate(names)}
    groups += [_group(name, "", chosen, found, settings) for name, chosen in classes.items()]
    groups += [
        _group(name, size, chosen & sized[size], found, settings) for name, chosen in classes.items() for size in sized
    ]
    groups = [group for group in groups if group.boxes]
    options = _options(bbox, owner, records.sizes, sized["small"], settings)
    _evaluate(groups, options, split, settings, issues)
    _lost(split, found, counted, settings, issues)
    return Coverage(settings.title, settings.levels, tuple(groups), tuple(options))


def _group(name: str, size: str, chosen: np.ndarray, found: Matched, settings: CoverageSettings) -> Group:
    count = int(chosen.sum())
    state, level = found.state[chosen], found.level[chosen]
    fitted, forced, lost = (float((state == value).mean()) if count else 0.0 for value in (FITTED, FORCED, LOST))
    levels = np.bincount(level[level >= 0], minlength=len(settings.levels)).tolist()
    positives = float(found.positives[chosen].mean()) if count else 0.0
    return Group(name, size, count, fitted, forced, lost, tuple(levels), positives)


def _evaluate(
    groups: Sequence[Group], options: Sequence[Option], split: Split, settings: CoverageSettings, issues: Issues
) -> None:
    """A warning for each size that is short, and for each class that is short in a size that is not: there its shape is
    the reason."""
    short = {group.size for group in groups if not group.name and group.size and _is_short(group)}
    best = max(options[1:], key=lambda option: option.small if "small" in short else option.fitted, default=None)
    # A word about what helps, but only if it does.
    help_ = (
        f"; {best.overrides} would fit {best.fitted:.0%} of all"
        if best and best.fitted > options[0].fitted + 0.01
        else ""
    )
    for group in groups:
        by_size = not group.name and bool(group.size)
        by_class = bool(group.name) and bool(group.size) and group.size not in short
        if not _is_short(group) or not (by_size or by_class):
            continue
        what = f"{group.size} boxes" if by_size else f"class {group.name}, {group.size}"
        text = f"{1 - group.fitted:.0%} of {group.boxes:,} have no anchor that fits ({settings.title}){help_}"
        issues.note("anchor-coverage", split.spec.title, text, item=what, split=split.name)


def _is_short(group: Group) -> bool:
    return group.boxes >= FEW and group.fitted < ENOUGH


def _lost(split: Split, found: Matched, counted: np.ndarray, settings: CoverageSettings, issues: Issues) -> None:
    """Boxes that teach nothing at all, by name."""
    records = split.source.records
    rows = np.flatnonzero(counted)[found.state == LOST]
    for row in rows.tolist():
        image = int(np.searchsorted(records.starts, row, side="right")) - 1
        file, item = split.called(row)
        box = tuple(records.bbox[row].tolist())
        text = f"no anchor learns it ({settings.title})"
        issues.note("lost-box", file, text, item=item, split=split.name, image=str(split.path(image)), box=box)


def _options(
    bbox: np.ndarray, owner: np.ndarray, sizes: np.ndarray, small: np.ndarray, settings: CoverageSettings
) -> list[Option]:
    """What is set now, then larger inputs, other scales and flatter shapes."""
    if settings.matcher != "iou":
        return []
    spec = settings.anchors
    tries = [("as it is", settings)]
    for factor in (1.5, 2.0):
        larger = with_size(settings, factor)
        height, width = larger.preprocess.size
        overrides = f"image_size={height}" if height == width else f"image_size=[{height},{width}]"
        tries.append((overrides, larger))
    if not isinstance(spec.scale, tuple):
        for scale in (2.0, 3.0, 4.0):
            if scale < spec.scale:
                tries.append(
                    (f"head.detection.anchors.scale={scale:g}", replace(settings, anchors=replace(spec, scale=scale)))
                )
        smaller = replace(with_size(settings, 1.5), anchors=replace(spec, scale=max(spec.scale / 2, 1.0)))
        height, _ = smaller.preprocess.size
        overrides = f"image_size={height} head.detection.anchors.scale={smaller.anchors.scale:g}"
        tries.append((overrides, smaller))
    flat = (1.0, 2.0, 0.5, 4.0, 0.25)
    tries.append(
        (
            f"head.detection.anchors.aspects=[{','.join(f'{value:g}' for value in flat)}]",
            replace(settings, anchors=replace(spec, aspects=flat)),
        )
    )
    found, known = [], set()
    for overrides, option in tries:
        if overrides in known:
            continue
        known.add(overrides)
        best, _ = best_overlaps(_on_canvas(bbox, owner, sizes, option), option)
        fits = best >= option.threshold
        found.append(Option(overrides, float(fits.mean()), float(fits[small].mean()) if small.any() else float("nan")))
    return found


def _on_canvas(bbox: np.ndarray, owner: np.ndarray, sizes: np.ndarray, settings: CoverageSettings) -> np.ndarray:
    """(N, 4) xywh in original pixels -> (N, 4) float32 xyxy in pixels of the canvas, image by image size."""
    boxes = np.concatenate([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]], axis=1)
    limits = sizes[owner][:, [1, 0, 1, 0]]
    boxes = np.clip(boxes, 0, limits)
    placed = np.zeros(boxes.shape, np.float32)
    unique, which = np.unique(sizes[owner], axis=0, return_inverse=True)
    for index, size in enumerate(unique.tolist()):
        chosen = which.reshape(-1) == index
        placed[chosen] = settings.preprocess.place(size[0], size[1]).geometry.to_canvas(boxes[chosen])
    return placed
