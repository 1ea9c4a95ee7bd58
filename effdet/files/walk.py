"""Listing a folder with all below it: sorted, without hidden files, through symbolic links, counting what is skipped."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
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

    directory: Path
    paths: list[Path] = field(default_factory=list)
    """Sorted by path; each begins with `directory`."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Suffix (in lower case, ``""`` for none) -> files that were neither wanted, nor hidden, nor companions."""
    loops: list[Path] = field(default_factory=list)
    """Links to a folder around them: not followed."""

    def names(self) -> list[str]:
        """Paths relative to the folder, with forward slashes."""
        return [path.relative_to(self.directory).as_posix() for path in self.paths]

    def said(self, what: str = "images") -> str:
        """How many files were skipped, in one line; empty where none was. `what` was wanted."""
        if not self.skipped:
            return ""
        count = sum(self.skipped.values())
        often = sorted(self.skipped.items(), key=lambda entry: (-entry[1], entry[0]))
        parts = ", ".join(f"{suffix or 'no suffix'} × {number}" for suffix, number in often[:6])
        return f"{count} {'file' if count == 1 else 'files'} skipped, not {what} by their names ({parts})"


def walk(
    directory: Path, requested: Callable[[str], bool], *, deep: bool = True, leave_out: Path | None = None
) -> Listing:
    """Lists the files below `directory` whose names are `requested`.

    Hidden files and folders below `directory` are skipped (`directory` itself may be hidden). Links to files and folders are
    followed; a link that leads back to a folder around it is not.

    Args:
        directory: where to look.
        requested: takes a bare name.
        deep: look into folders too.
        leave_out: a folder below that is passed over, such as one of our own results.

    Raises:
        OSError: `directory` itself cannot be listed; one below that cannot be is left out.
    """
    found = Listing(directory)
    passed = None
    if leave_out is not None and leave_out.is_dir() and identity(leave_out) != identity(directory):
        passed = identity(leave_out)
    found.paths.extend(_below(directory, requested, deep, found, _around(directory), passed))
    found.paths.sort()
    return found


def _below(
    directory: Path,
    requested: Callable[[str], bool],
    deep: bool,
    found: Listing,
    around: frozenset[_Identity],
    passed: _Identity | None,
) -> Iterator[Path]:
    try:
        around |= {identity(directory)}
        with os.scandir(directory) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError:
        if directory == found.directory:
            raise
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        try:
            is_dir_entry = entry.is_dir()
        except OSError:
            continue
        if is_dir_entry:
            path = directory / entry.name
            if not deep or passed is not None and identity(path) == passed:
                continue
            if entry.is_symlink() and identity(path) in around:
                found.loops.append(path)
            else:
                yield from _below(path, requested, deep, found, around, passed)
        elif requested(entry.name):
            if entry.is_symlink() or entry.is_file():  # a broken link is a file that is missing; a pipe is none
                yield directory / entry.name
        elif (suffix := os.path.splitext(entry.name)[1].lower()) not in COMPANIONS:
            found.skipped[suffix] += 1


def is_link_loop(path: Path) -> bool:
    """Whether `path` is a link to a folder around it, in which a search would go round."""
    return path.is_symlink() and path.is_dir() and identity(path) in _around(path.parent) | {identity(path.parent)}


def matching(root: Path, parts: Sequence[str]) -> Iterator[Path]:
    """What fits a pattern below `root`, without going round in links as :mod:`glob` does.

    Args:
        root: a folder.
        parts: of the pattern, with ``*``, ``?`` and ``[…]`` in any of them; ``**`` for folders of any depth, or none.
            Names that begin with a dot fit only a part that does.
    """
    yield from dict.fromkeys(_matching(root, list(parts), _around(root.parent)))


def _matching(directory: Path, parts: list[str], around: frozenset[_Identity]) -> Iterator[Path]:
    if not parts:
        yield directory
        return
    try:
        around |= {identity(directory)}
        with os.scandir(directory) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError:
        return
    part, *rest = parts
    if part == "..":
        yield from _matching(directory / part, rest, around)
        return
    if part == "**" and rest:
        yield from _matching(directory, rest, around)
    for entry in entries:
        path = directory / entry.name
        if entry.name.startswith(".") and not part.startswith("."):
            continue
        back = entry.is_symlink() and entry.is_dir() and identity(path) in around
        if part == "**":
            if entry.is_dir() and not back:
                yield from _matching(path, parts, around)
            if not rest:
                yield path
        elif fnmatch.fnmatchcase(entry.name, part) and not (rest and (back or not entry.is_dir())):
            yield from _matching(path, rest, around)


def _around(directory: Path) -> frozenset[_Identity]:
    """The folders in which a folder lies, by the path as it is given and by that without links."""
    found = set()
    for path in (Path(os.path.abspath(directory)), Path(os.path.realpath(directory))):
        for parent in path.parents:
            with suppress(OSError):
                found.add(identity(parent))
    return frozenset(found)


def identity(path: str | os.PathLike[str]) -> _Identity:
    """By what a file is known whatever its name."""
    state = os.stat(path)
    return state.st_dev, state.st_ino
