"""Labels that are valid by themselves and yet odd: tiny, thin or repeated boxes; classes that are rare, missing or alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from effdet.data.preflight import class_counts, class_table
from effdet.doctor.issues import Issues
from effdet.doctor.reading import Split

TINY = 2.0
"""Pixels of the original image."""
WHOLE = 0.995
"""Share of the image."""
THIN = 20.0
"""Long side to short side."""


def check_boxes(split: Split, issues: Issues) -> None:
    """Notes the odd boxes of a split, each by its file and name."""
    records = split.source.records
    if len(records.labels) == 0:
        return
    owner = np.repeat(np.arange(len(records)), np.diff(records.starts))
    width, height = records.bbox[:, 2], records.bbox[:, 3]
    share = width * height / np.maximum(records.sizes[owner].prod(axis=1), 1)
    shortest, longest = np.minimum(width, height), np.maximum(width, height)
    solid = ~records.crowd

    def note(kind: str, row: int, text: str) -> None:
        issues.note(kind, text=text, **split.shown(row))

    for row in np.flatnonzero(solid & (shortest < TINY)).tolist():
        note("tiny-box", row, f"{width[row]:.3g}×{height[row]:.3g} pixels")
    for row in np.flatnonzero(solid & (share >= WHOLE)).tolist():
        note("whole-image-box", row, f"covers {share[row]:.1%} of its image")
    for row in np.flatnonzero(solid & (longest > THIN * shortest) & (shortest >= TINY)).tolist():
        note("thin-box", row, f"{width[row]:.4g}×{height[row]:.4g} pixels")
    keys = np.concatenate([owner[:, None], np.round(records.bbox, 2), records.labels[:, None]], axis=1)
    for row, first in _repeats(keys):
        note("duplicate-box", row, f"the same box and class as {split.called(first)[1]}")
    shown = {row for row, _ in _repeats(keys)}
    for row, first in _repeats(keys[:, :5]):
        if row not in shown:
            names = split.source.classes.names
            both = f"{names[records.labels[row]]} and {names[records.labels[first]]}"
            text = f"the same box as {split.called(first)[1]}, as {both}"
            note("two-class-box", row, text)


def _repeats(keys: np.ndarray) -> list[tuple[int, int]]:
    """(row, the first row that equals it) for each row of `keys` that an earlier one equals."""
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    earliest = first[which.reshape(-1)]
    return [(row, int(earliest[row])) for row in np.flatnonzero(earliest != np.arange(len(keys))).tolist()]


RARE = 10
IMBALANCE = 100


@dataclass(frozen=True)
class Balance:
    """Objects of each class in each split (images in a classification set, pixels in masks)."""

    unit: str
    names: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    """By split, in the order of `names`."""


def check_classes(splits: Sequence[Split], issues: Issues) -> Balance | None:
    """Counts the classes, and notes those that are missing, rare, or of nearly the same name."""
    for split in splits:
        _similar([str(name) for name in split.source.classes.names if name is not None], split, issues)
    balances = [balance for split in splits if (balance := _count(split)) is not None]
    if not balances:
        return None
    names = tuple(dict.fromkeys(name for balance in balances for name in balance.names))
    counts: dict[str, tuple[int, ...]] = {}
    for balance in balances:
        for side, values in balance.counts.items():
            known = dict(zip(balance.names, values, strict=True))
            before = counts.get(side, (0,) * len(names))
            counts[side] = tuple(old + known.get(name, 0) for name, old in zip(names, before, strict=True))
    found = Balance(balances[0].unit, names, counts)
    _evaluate(found, splits, issues)
    return found


def _count(split: Split) -> Balance | None:
    source = split.source
    units = {"boxes": "boxes", "category": "images", "semantic": "pixels"}
    label = next((label for label in units if label in source.labelled), "")
    if len(source) == 0 or not label or class_counts(source, label) is None:
        return None
    names = tuple(map(str, class_table(source, label).names))
    parts = {side: source.subset(np.flatnonzero(split.sides == side)) for side in sorted(set(split.sides.tolist()))}
    counts = {side: class_counts(part, label) for side, part in parts.items()}
    return Balance(
        units[label], names, {side: tuple(found.tolist()) for side, found in counts.items() if found is not None}
    )


def _evaluate(found: Balance, splits: Sequence[Split], issues: Issues) -> None:
    title = next((split for split in splits if split.name == "train"), splits[0]).spec.title
    total = [sum(values[index] for values in found.counts.values()) for index in range(len(found.names))]
    train, val = found.counts.get("train"), found.counts.get("val")
    least = RARE if found.unit != "pixels" else 1
    for index, name in enumerate(found.names):
        item = f"class {name}"
        if total[index] == 0:
            issues.note("unused-class", title, f"none of its {found.unit} in {', '.join(found.counts)}", item=item)
        elif train is not None and val is not None and train[index] == 0 and val[index]:
            issues.note("class-not-in-train", title, f"{val[index]:,} {found.unit} in val, none in train", item=item)
        elif train is not None and val is not None and val[index] == 0:
            issues.note("class-not-in-val", title, f"{train[index]:,} {found.unit} in train, none in val", item=item)
        if train is not None and 0 < train[index] < least:
            issues.note("rare-class", title, f"{train[index]} {found.unit} in train", item=item)
    used = [(count, name) for count, name in zip(train or total, found.names, strict=True) if count]
    if used and max(used)[0] > IMBALANCE * min(used)[0]:
        (many, most), (few, fewest) = max(used), min(used)
        text = f"{many:,} {found.unit} of {most}, {few:,} of {fewest}: {many / few:,.0f} to 1"
        issues.note("class-imbalance", title, text, item=f"class {fewest}")


def _similar(names: Sequence[str], split: Split, issues: Issues) -> None:
    first: dict[str, str] = {}
    for name in names:
        plain = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
        if plain in first and first[plain] != name:
            text = f"{name!r} and {first[plain]!r} are two classes that differ only in case, spaces or dashes"
            issues.note("similar-classes", split.spec.title, text, item=f"class {name}", split=split.name)
        first.setdefault(plain, name)


def check_unlabelled(split: Split, issues: Issues) -> None:
    """Notes masks without any class, and counts the images without any object."""
    source = split.source
    pixels, masks = source.records.class_pixels, source.records.masks
    if pixels is not None and masks is not None and "semantic" in source.labelled:
        for place in np.flatnonzero((pixels.sum(axis=1) == 0) & (masks != b"")).tolist():
            mask, text = source.records[place].mask, "every pixel is ignored"
            issues.note("empty-mask", mask or "", text, split=split.name)
    if "boxes" not in source.labelled or len(source) == 0:
        return
    empty = np.flatnonzero(np.diff(source.records.starts) == 0)
    if len(empty):
        path = split.path(int(empty[0]))
        text = f"{len(empty):,} of {len(source):,} images have no object, such as {path.name}"
        issues.note("unlabelled-image", split.spec.title, text, item=path.name, split=split.name, image=str(path))
