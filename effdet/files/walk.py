"""Listing a folder with all below it: sorted, without hidden files, through symbolic links, counting what is skipped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from effdet.files.names import is_hidden

COMPANIONS = frozenset(
    {
        *(".txt", ".xml", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".names", ".data", ".cfg", ".lst"),
        *(".md", ".rst", ".html", ".htm", ".log", ".cache", ".py", ".ipynb", ".pkl", ".license", ".url", ".sha256"),
    }
)
"""Suffixes of labels, lists and notes that lie beside images; nobody expects them to be read as images."""


_Identity = tuple[int, int]
"""Device and inode."""


@dataclass
class Listing:
    """The files found below a folder."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    """Sorted by path; each begins with `folder`."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Suffix (in lower case, ``""`` for none) -> files that were neither wanted, nor hidden, nor companions."""
    loops: list[Path] = field(default_factory=list)
    """Links to a folder that holds them: not followed."""

    def names(self) -> list[str]:
        """Paths relative to the folder, with forward slashes."""
        return [path.relative_to(self.folder).as_posix() for path in self.paths]

    def said(self, what: str = "images") -> str:
        """How many files were skipped, in one line; empty where none was. `what` was wanted."""
        if not self.skipped:
            return ""
        count = sum(self.skipped.values())
        often = sorted(self.skipped.items(), key=lambda entry: (-entry[1], entry[0]))
        parts = ", ".join(f"{suffix or 'no suffix'} × {number}" for suffix, number in often[:6])
        return f"{count} {'file' if count == 1 else 'files'} skipped, not {what} by their names ({parts})"


def walk(folder: Path, wanted: Callable[[str], bool], *, deep: bool = True, leave_out: Path | None = None) -> Listing:
    """Lists the files below `folder` whose names are `wanted`.

    Hidden files and folders below `folder` are skipped (`folder` itself may be hidden). Links to files and folders are
    followed; a link that leads back to a folder around it is not.

    Args:
        folder: where to look.
        wanted: takes a bare name.
        deep: look into folders too.
        leave_out: a folder below that is passed over, such as one of our own results.

    Raises:
        OSError: `folder` itself cannot be listed; one below that cannot be is left out.
    """
    found = Listing(folder)
    passed = None
    if leave_out is not None and leave_out.is_dir() and _identity(leave_out) != _identity(folder):
        passed = _identity(leave_out)
    found.paths.extend(_below(folder, wanted, deep, found, (), passed))
    found.paths.sort()
    return found


def _below(
    folder: Path,
    wanted: Callable[[str], bool],
    deep: bool,
    found: Listing,
    around: tuple[_Identity, ...],
    passed: _Identity | None,
) -> Iterator[Path]:
    try:
        state = os.stat(folder)
        around = (*around, (state.st_dev, state.st_ino))
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError:
        if len(around) <= 1 and folder == found.folder:
            raise
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:
            continue
        if is_folder:
            path = folder / entry.name
            if not deep or passed is not None and _identity(path) == passed:
                continue
            if entry.is_symlink() and _identity(path) in around:
                found.loops.append(path)
            else:
                yield from _below(path, wanted, deep, found, around, passed)
        elif wanted(entry.name):
            if entry.is_symlink() or entry.is_file():  # a broken link is a file that is missing; a pipe is none
                yield folder / entry.name
        elif (suffix := os.path.splitext(entry.name)[1].lower()) not in COMPANIONS:
            found.skipped[suffix] += 1


def _identity(path: Path) -> _Identity:
    state = os.stat(path)
    return state.st_dev, state.st_ino
