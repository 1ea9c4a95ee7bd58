"""What is left out of a repaired set, by the findings, and where the files of the set go in its copy."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from effdet.doctor.issues import Issues
from effdet.files import walk

SPOILT = (
    *("missing-image", "unreadable-image", "truncated-image", "corrupt-image", "decompression-bomb"),
    *("wrong-size", "bad-xml", "missing-annotation"),
)
"""Kinds for which the whole image is left out."""
_NUMBER = re.compile(r"^(?:object|line) (\d+)")


class CopyLayout:
    """Places in the copy, no two files in one: the identity of a file is its path.

    Args:
        root: the folder of the set; what lies elsewhere goes where the caller says.
        out: the folder of the copy.
    """

    def __init__(self, root: Path | None, out: Path) -> None:
        self.root = None if root is None else Path(os.path.abspath(root))
        self.out = out
        self._taken: dict[str, str] = {}
        self._used: set[str] = set()

    def inside(self, path: Path) -> PurePosixPath | None:
        """`path` relative to the set's root; None where it lies elsewhere."""
        whole = Path(os.path.abspath(path))
        if self.root is None or not whole.is_relative_to(self.root):
            return None
        return PurePosixPath(whole.relative_to(self.root).as_posix())

    def claim(self, source: Path, place: PurePosixPath) -> PurePosixPath:
        """`place`, or the next free one (``NAME_2``, ``NAME_3``, …) where another file than `source` has it."""
        whole = os.path.abspath(source)
        self.use(source)
        found, copy = place, 1
        while self._taken.setdefault(str(found), whole) != whole:
            copy += 1
            found = place.with_stem(f"{place.stem}_{copy}")
        return found

    def use(self, source: Path) -> None:
        """Notes that the copy holds what `source` says, or that it counts what it leaves out of it."""
        self._used.add(os.path.abspath(source))

    def link(self, image: Path, place: PurePosixPath) -> None:
        """Makes the file at `place` stand for `image`: a link, or a copy where links cannot be made."""
        target = self.out / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            return  # the same image in two splits: `claim` gives a place to one file only
        try:
            os.symlink(image.resolve(), target)
        except OSError:
            shutil.copy2(image, target)

    def write(self, place: PurePosixPath, content: bytes) -> None:
        """Writes a file of the copy."""
        target = self.out / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def count_others(self, done: Counter[str]) -> None:
        """Counts the files beside those that were used, hidden ones apart: the copy does not have them."""
        others = 0
        for directory in {os.path.dirname(path) for path in self._used}:
            if os.path.isdir(directory):
                found = walk(Path(directory), lambda _: True, deep=False).paths
                others += sum(os.path.abspath(path) not in self._used for path in found)
        if others:
            done["other files not copied"] += others


@dataclass(frozen=True, eq=False)
class RepairPlan:
    """What to do without."""

    images: frozenset[Path]
    """Images (or XML files) that are left out."""
    leaked: frozenset[Path]
    """Images that are left out of only train: they are in another split too."""
    swapped: dict[Path, str]
    """Images whose stated width and height are exchanged, and their split: the readers leave these out."""
    stored: frozenset[Path]
    """Images whose boxes belong to the pixels as they are stored, whatever the EXIF note says."""
    rows: dict[str, frozenset[int]]
    """File -> numbers of its faulty objects or lines, from 1."""
    copy: CopyLayout
    """Takes the files."""
    done: Counter[str]
    """Takes what was done."""

    @classmethod
    def of(cls, issues: Issues, copy: CopyLayout, done: Counter[str]) -> Self:
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
            copy,
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
