"""Boxes that are valid by themselves and yet odd: tiny, thin, as large as the image, or there twice."""

from __future__ import annotations

import numpy as np

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
        file, item = split.called(row)
        image, box = str(split.path(int(owner[row]))), tuple(records.bbox[row].tolist())
        issues.note(kind, file, text, item=item, split=split.name, image=image, box=box)

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
