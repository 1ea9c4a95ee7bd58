"""Do the anchors reach the boxes, by class and size, and what would help?

By the matcher that training uses, image by image, at the chosen input size. A box is *fitted* if one of the anchors that the
matcher gives it overlaps it by the threshold at least; *forced* if it has only the anchor that the paper's rule gives every
box, however badly it fits; *lost* if all anchors that it could have had went to others. (ATSS has a threshold of its own for
each box, and forces none: there a box is fitted or lost. TAL follows the predictions; without a model it can only be said
whether any anchor's centre lies in the box.)

For what *would* fit there is a short way: of anchors of one shape the one whose centre is nearest to the box's overlaps it
most, so a box's best overlap is that of 9 anchors a level, not of tens of thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from effdet.boxes import area, iou, over_union, shared_area
from effdet.data.records import xyxy
from effdet.doctor.issues import Issues
from effdet.doctor.reading import Split
from effdet.preprocess import Preprocess
from heads.detection.anchors import AnchorSpec

FITTED, FORCED, LOST = 0, 1, 2
STATES = ("fitted", "forced", "lost")


@dataclass(frozen=True)
class CoverageSettings:
    """The part of a detector that decides which anchor learns which box."""

    preprocess: Preprocess
    """Lays images on the input canvas."""
    levels: tuple[int, ...] = (3, 4, 5, 6, 7)
    """Pyramid levels; level l has stride 2**l."""
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    matcher: str = "iou"
    threshold: float = 0.5
    smallest: float = 0.0
    """Sides below this, in input pixels, count as this long (``tal``)."""

    @property
    def cells(self) -> list[tuple[int, int]]:
        """(height, width) of each level's grid. Convolutions of stride 2 round up, level by level."""
        height, width = self.preprocess.size
        return [(-(-height // 2**level), -(-width // 2**level)) for level in self.levels]

    @property
    def title(self) -> str:
        """How reports call it."""
        height, width = self.preprocess.size
        rule = f"iou ≥ {self.threshold:g}" if self.matcher == "iou" else self.matcher
        scale = self.anchors.scale
        return f"{height}×{width} input, anchor scale {scale if isinstance(scale, tuple) else f'{scale:g}'}, matcher {rule}"


@dataclass(frozen=True, eq=False)
class Matched:
    """The boxes of one image, or of many in a row."""

    state: np.ndarray
    """(N,) int8 of FITTED, FORCED, LOST."""
    level: np.ndarray
    """(N,) int8 position of the level of its best anchor, -1 where it is lost."""
    positives: np.ndarray
    """(N,) int32 anchors that learn it."""

    @classmethod
    def none(cls) -> Matched:
        return cls(np.zeros(0, np.int8), np.zeros(0, np.int8), np.zeros(0, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Matched]) -> Matched:
        """All `parts` in a row."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in (cls.none(), *parts)]) for name in vars(cls.none()))
        )


def match_boxes(boxes: np.ndarray, size: tuple[int, int], settings: CoverageSettings) -> Matched:
    """Which of an image's boxes get anchors, by the real matcher.

    Args:
        boxes: (N, 4) float32 xyxy, original pixels.
        size: (height, width) of the image.
    """
    if len(boxes) == 0:
        return Matched.none()
    canvas = settings.preprocess.place(*size).geometry.to_canvas(boxes)
    if settings.matcher in ("tal", "atss_tal"):  # what assigns for most of a training
        return _by_centre(canvas, settings)
    import torch

    from heads.detection.anchors import anchors
    from heads.detection.matcher import match_atss, match_iou

    grid = anchors(settings.cells, settings.preprocess.size, settings.anchors)
    batch, labels = torch.from_numpy(canvas)[None], torch.zeros((1, len(canvas)), dtype=torch.int64)
    counts = [height * width for height, width in settings.cells]
    if settings.matcher == "atss":
        owners = match_atss(grid, batch, labels, cells=counts, per_cell=settings.anchors.per_cell)[0]
    else:
        owners = match_iou(grid, batch, labels, threshold=settings.threshold)[0]
    places = torch.nonzero(owners >= 0)[:, 0].numpy()
    owner = owners.numpy()[places]
    overlap = iou(grid.numpy()[places], canvas[owner])
    best = np.zeros(len(canvas))
    np.maximum.at(best, owner, overlap)
    level = np.full(len(canvas), -1, np.int8)
    ends = np.cumsum(counts) * settings.anchors.per_cell
    top = overlap >= best[owner]
    level[owner[top]] = np.searchsorted(ends, places[top], side="right")
    positives = np.bincount(owner, minlength=len(canvas)).astype(np.int32)
    fits = positives > 0 if settings.matcher == "atss" else best >= settings.threshold
    state = np.where(positives == 0, LOST, np.where(fits, FITTED, FORCED)).astype(np.int8)
    return Matched(state, level, positives)


def best_overlaps(boxes: np.ndarray, settings: CoverageSettings) -> tuple[np.ndarray, np.ndarray]:
    """The highest overlap of each box with any anchor, and on which level.

    Args:
        boxes: (N, 4) float32 xyxy, pixels of the input canvas.

    Returns:
        (N,) float64 IoU and (N,) int64 position of the level.
    """
    boxes = boxes.astype(np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    areas = area(boxes)
    image = settings.preprocess.size
    best, where = np.full(len(boxes), -1.0), np.zeros(len(boxes), np.int64)
    spec = settings.anchors
    for position, (rows, columns) in enumerate(settings.cells):
        stride = np.array([image[1] / columns, image[0] / rows])
        cell = np.clip(np.floor(centre / stride), 0, np.array([columns, rows]) - 1)
        middle = (cell + 0.5) * stride
        scale = spec.scale_of(position, len(settings.levels))
        for octave in range(spec.scales_per_octave):
            for factor in spec.factors:
                shape = scale * stride * 2 ** (octave / spec.scales_per_octave) * np.array(factor)
                anchor = np.concatenate([middle - shape / 2, middle + shape / 2], axis=1)
                overlap = over_union(shared_area(boxes, anchor), areas, shape.prod())
                better = overlap > best
                best, where = np.where(better, overlap, best), np.where(better, position, where)
    return best, where


def with_size(settings: CoverageSettings, factor: float) -> CoverageSettings:
    """`settings` with a canvas `factor` times as large, in multiples of 128 pixels (or of 32, where it is smaller)."""
    unit = 128 if min(settings.preprocess.size) >= 256 else 32
    size = tuple(max(unit, round(side * factor / unit) * unit) for side in settings.preprocess.size)
    return replace(settings, preprocess=settings.preprocess.fitted((size[0], size[1])))


def _by_centre(canvas: np.ndarray, settings: CoverageSettings) -> Matched:
    """TAL: candidates are the anchors whose centre lies in the box; the finest level has the most centres."""
    rows, columns = settings.cells[0]
    stride = np.array([settings.preprocess.size[1] / columns, settings.preprocess.size[0] / rows])
    growth = np.maximum(settings.smallest - (canvas[:, 2:] - canvas[:, :2]), 0) / 2
    first = np.floor((canvas[:, :2] - growth) / stride - 0.5) + 1
    last = np.ceil((canvas[:, 2:] + growth) / stride - 0.5) - 1
    limit = np.array([columns, rows]) - 1
    count = np.clip(np.minimum(last, limit) - np.maximum(first, 0) + 1, 0, None).prod(axis=1)
    state = np.where(count > 0, FITTED, LOST).astype(np.int8)
    level = np.where(count > 0, 0, -1).astype(np.int8)
    return Matched(state, level, (count * settings.anchors.per_cell).astype(np.int32))


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
                vars(option) | {"small": None if np.isnan(option.small) else option.small} for option in self.options
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
    for row in np.flatnonzero(counted)[found.state == LOST].tolist():
        issues.note("lost-box", text=f"no anchor learns it ({settings.title})", **split.shown(row))
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
    helps = best is not None and best.fitted > options[0].fitted + 0.01
    hint = f"; {best.overrides} would fit {best.fitted:.0%} of all" if best and helps else ""
    for group in groups:
        by_size = not group.name and bool(group.size)
        by_class = bool(group.name) and bool(group.size) and group.size not in short
        if not _is_short(group) or not (by_size or by_class):
            continue
        what = f"{group.size} boxes" if by_size else f"class {group.name}, {group.size}"
        text = f"{1 - group.fitted:.0%} of {group.boxes:,} have no anchor that fits ({settings.title}){hint}"
        issues.note("anchor-coverage", split.spec.title, text, item=what, split=split.name)


def _is_short(group: Group) -> bool:
    return group.boxes >= FEW and group.fitted < ENOUGH


def _options(
    bbox: np.ndarray, owner: np.ndarray, sizes: np.ndarray, small: np.ndarray, settings: CoverageSettings
) -> list[Option]:
    """What is set now, then larger inputs, other scales and flatter shapes."""
    if settings.matcher != "iou":
        return []
    spec = settings.anchors
    tries = {"as it is": settings}
    for factor in (1.5, 2.0):
        larger = with_size(settings, factor)
        height, width = larger.preprocess.size
        tries[f"image_size={height}" if height == width else f"image_size=[{height},{width}]"] = larger
    if not isinstance(spec.scale, tuple):
        for scale in (2.0, 3.0, 4.0):
            if scale < spec.scale:
                anchors = replace(spec, scale=scale)
                tries[f"head.detection.anchors.scale={scale:g}"] = replace(settings, anchors=anchors)
        smaller = replace(with_size(settings, 1.5), anchors=replace(spec, scale=max(spec.scale / 2, 1.0)))
        height, _ = smaller.preprocess.size
        tries[f"image_size={height} head.detection.anchors.scale={smaller.anchors.scale:g}"] = smaller
    flat = (1.0, 2.0, 0.5, 4.0, 0.25)
    aspects = ",".join(f"{value:g}" for value in flat)
    tries[f"head.detection.anchors.aspects=[{aspects}]"] = replace(settings, anchors=replace(spec, aspects=flat))
    found = []
    for overrides, option in tries.items():
        best, _ = best_overlaps(_on_canvas(bbox, owner, sizes, option), option)
        fits = best >= option.threshold
        found.append(Option(overrides, float(fits.mean()), float(fits[small].mean()) if small.any() else float("nan")))
    return found


def _on_canvas(bbox: np.ndarray, owner: np.ndarray, sizes: np.ndarray, settings: CoverageSettings) -> np.ndarray:
    """(N, 4) xywh in original pixels -> (N, 4) float32 xyxy in pixels of the canvas, image by image size."""
    boxes = np.clip(xyxy(bbox), 0, sizes[owner][:, [1, 0, 1, 0]])
    placed = np.zeros(boxes.shape, np.float32)
    unique, which = np.unique(sizes[owner], axis=0, return_inverse=True)
    for index, size in enumerate(unique.tolist()):
        chosen = which.reshape(-1) == index
        placed[chosen] = settings.preprocess.place(size[0], size[1]).geometry.to_canvas(boxes[chosen])
    return placed
