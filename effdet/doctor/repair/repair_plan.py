"""What the findings say is to be left out, and how images get beside repaired annotations."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from effdet.doctor.issues import Issues

SPOILT = (
    *("missing-image", "unreadable-image", "truncated-image", "corrupt-image", "decompression-bomb"),
    *("wrong-size", "bad-xml", "missing-annotation"),
)
"""Kinds for which the whole image is left out."""
_NUMBER = re.compile(r"^(?:object|line) (\d+)")


@dataclass(frozen=True, eq=False)
class RepairPlan:
    """What to do without."""

    images: frozenset[Path]
    """Images (or XML files) that are left out."""
    leaked: frozenset[Path]
    """Images that are left out of train alone: they are in another split too."""
    swapped: dict[Path, str]
    """Images whose stated width and height are exchanged, and their split: the readers leave these out."""
    stored: frozenset[Path]
    """Images whose boxes belong to the pixels as they are stored, whatever the EXIF note says."""
    rows: dict[str, frozenset[int]]
    """File -> numbers of its faulty objects or lines, from 1."""
    done: Counter[str]
    """Takes what was done."""

    @classmethod
    def of(cls, issues: Issues, done: Counter[str]) -> Self:
        """What the findings of a set ask for."""
        done["label files without an image left out"] += issues.counts["label-without-image"]
        rows: dict[str, set[int]] = {}
        for issue in issues:
            known = issues.kind(issue.kind)
            leaves = known.level == "error" and known.repair or issue.kind == "duplicate-box"
            if leaves and (match := _NUMBER.match(issue.item)):
                rows.setdefault(issue.file, set()).add(int(match[1]))
        return cls(
            frozenset(Path(issue.file) for kind in SPOILT for issue in issues.of(kind)),
            frozenset(Path(path) for issue in issues.of("split-leak") for path in (issue.image, issue.other)),
            {Path(issue.file): issue.split for issue in issues.of("swapped-size")},
            frozenset(Path(issue.file) for issue in issues.of("exif-frame")),
            {file: frozenset(numbers) for file, numbers in rows.items()},
            done,
        )

    def keeps(self, image: Path, side: str) -> bool:
        """Whether an image of a split stays; counts those that don't."""
        if image in self.images:
            self.done["images left out: unusable"] += 1
            return False
        if side == "train" and image in self.leaked:
            self.done["images left out of train: also in another split"] += 1
            return False
        return True
