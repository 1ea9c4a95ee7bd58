"""Where the files of a set go in its repaired copy: each to the place that it has under the set's root."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

from effdet.files import walk


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
