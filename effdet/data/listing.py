r"""What the readers share: listing a folder's images, reading a list, and where a path that a file of the set names leads.

``data.root`` is the user's word, so what lies inside it goes first. Exports carry paths of the machine or the folder in which
they were made: ``../train/images`` beside which another set may lie today, ``/home/someone/set/images/train``,
``D:\set\train.txt``, ``data/train.txt``. Such a path is looked for inside ``data.root``: as it stands, then without its
leading folders; only after that where it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from effdet.data.checks import DataError, Findings
from effdet.data.spec import inside
from effdet.files import FileError, is_image, read_bytes, read_json, read_lines, read_text, walk


def images_below(directory: Path, findings: Findings, *, deep: bool = True) -> list[Path]:
    """The images below `directory`, sorted by path; see :func:`listed`."""
    return listed(directory, is_image, findings, deep=deep)


def files_below(directory: Path, suffixes: Collection[str], findings: Findings, *, deep: bool = True) -> list[Path]:
    """The files below `directory` whose suffix, in lower case, is one of `suffixes`, sorted by path; see :func:`listed`."""
    requested = lambda name: Path(name).suffix.lower() in suffixes
    return listed(directory, requested, findings, what=f"of {', '.join(sorted(suffixes))}", deep=deep)


def listed(
    directory: Path, requested: Callable[[str], bool], findings: Findings, *, what: str = "images", deep: bool = True
) -> list[Path]:
    """The files below `directory` whose names are `requested`, sorted by path.

    Args:
        directory: where to look.
        requested: takes a bare name.
        findings: takes how many others are skipped (hidden ones and texts apart), and links that lead back.
        what: the requested files, for messages.
        deep: look into folders too.
    """
    try:
        found = walk(directory, requested, deep=deep)
    except OSError as error:
        raise DataError(f"{directory}: cannot be listed ({error.strerror})", file=directory) from None
    if said := found.said(what):
        findings.warning("skipped-file", directory, said)
    for link in found.loops:
        findings.warning("link-loop", link, "leads back to a folder around it: not followed")
    return found.paths


def relative_names(paths: Iterable[Path], directory: Path) -> list[str]:
    """The `paths` relative to `directory`, with forward slashes; one that lies elsewhere as it is."""
    return [(path.relative_to(directory) if path.is_relative_to(directory) else path).as_posix() for path in paths]


def text_of(path: Path, *, kind: str = "bad-text") -> str:
    """The text of a file (:func:`effdet.files.read_text`).

    Raises:
        DataError: of `kind`; it cannot be read, or is in no known encoding.
    """
    return _read(read_text, path, kind)


def lines_of(path: Path, *, kind: str = "bad-text") -> list[str]:
    """The lines of a list that hold something, without the spaces around them; errors as for :func:`text_of`."""
    return [line.strip() for line in _read(read_lines, path, kind) if line.strip()]


def bytes_of(path: Path) -> bytes:
    """The content of a file; errors as for :func:`text_of`."""
    return _read(read_bytes, path, "")


def json_of(path: Path, *, kind: str = "not-json") -> Any:
    """The value of a JSON file; errors as for :func:`text_of`, and for what is not JSON."""
    return _read(read_json, path, kind)


def _read(read: Callable[[Path], Any], path: Path, kind: str) -> Any:
    try:
        return read(path)
    except FileError as error:
        raise DataError(str(error), kind=kind, file=path) from None


_DRIVE = re.compile(r"^[A-Za-z]:/")
_FLAG = re.compile(r"(.*\S)\s+[+-]?[01]")


def readings(line: str) -> Iterator[str]:
    """What a line of a list may name, the likeliest first: the whole line, spaces and all, or what stands before the
    1, 0 or -1 of Pascal VOC's lists of a class; each also without the suffix of an image."""
    line = line.strip().replace("\\", "/")
    flagged = _FLAG.fullmatch(line)
    for reading in (line, flagged[1]) if flagged else (line,):
        yield reading
        if is_image(reading):
            yield reading.rpartition(".")[0]


def places(entry: str, root: Path, bases: Sequence[Path]) -> Iterator[Path]:
    """Where a path may lead inside `root`, the likeliest first.

    Args:
        entry: the path as a file of the set writes it.
        root: the folder that the user named.
        bases: folders from which a relative path may count, below `root`.
    """
    entry = entry.strip().replace("\\", "/")
    foreign = entry.startswith(("/", "../")) or _DRIVE.match(entry) is not None
    for base in bases:
        if inside(base / entry, root):
            yield base / entry
    parts = [part for part in _DRIVE.sub("", entry).split("/") if part not in ("", ".", "..")]
    # A relative path whose folders are all missing is not taken for any folder that merely ends alike.
    shortest = 1 if foreign or Path(entry).suffix else min(2, len(parts))
    for base in bases:
        if inside(base, root):
            for cut in range(len(parts) - shortest + 1):
                yield base.joinpath(*parts[cut:])


def find(
    entry: str, root: Path, bases: Sequence[Path], there: Callable[[Path], bool]
) -> tuple[Path | None, Path | None]:
    """(the place inside `root`, the place outside of it) to which a path leads, each None where nothing is there."""
    within = next((place for place in places(entry, root, bases) if there(place)), None)
    stated = (base / entry.strip().replace("\\", "/") for base in bases)
    outside = next((place for place in stated if not inside(place, root) and there(place)), None)
    return within, outside


class ImageFinder:
    """Finds the images that a list names; what one line shows of a folder holds for the others."""

    def __init__(self, root: Path, bases: Sequence[Path]) -> None:
        self._root, self._bases = root, tuple(bases)
        self._directories: dict[str, Path] = {}
        self._stems: dict[Path, dict[str, Path]] = {}

    def __call__(self, line: str) -> Path:
        """The image of a line; where none is there, the place at which it should be."""
        for reading in readings(line):
            if (found := self._find(reading)) is not None:
                return found
        return self._bases[0] / next(readings(line))

    def _find(self, name: str) -> Path | None:
        above, _, last = name.rpartition("/")
        known = self._directories.get(above)
        if known is not None and (known / last).is_file():
            return known / last
        there = lambda place: place.is_file() or self._by_stem(place) is not None
        within, outside = find(name, self._root, self._bases, there)
        place = within or outside
        if place is None:
            return None
        self._directories[above] = place.parent
        return place if place.is_file() else self._by_stem(place)

    def _by_stem(self, place: Path) -> Path | None:
        """The only image of the name `place` but for its suffix, in its folder."""
        if is_image(place.name):
            return None
        if place.parent not in self._stems:
            stems: dict[str, Path] = {}
            doubled = set()
            for entry in sorted(place.parent.iterdir()) if place.parent.is_dir() else ():
                if is_image(entry.name) and entry.stem in stems:
                    doubled.add(entry.stem)
                elif is_image(entry.name):
                    stems[entry.stem] = entry
            self._stems[place.parent] = {stem: path for stem, path in stems.items() if stem not in doubled}
        return self._stems[place.parent].get(place.name)
