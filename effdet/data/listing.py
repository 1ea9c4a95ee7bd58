"""What the readers share: listing a folder's images, and reading a list, with faults as the readers tell them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from effdet.data.checks import DataError, Findings
from effdet.files import FileError, is_image, read_json, read_lines, read_text, walk


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
        folder: where to look.
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


def text_of(path: Path, *, kind: str = "bad-text") -> str:
    """The text of a file (:func:`effdet.files.read_text`).

    Raises:
        DataError: of `kind`; it cannot be read, or is in no known encoding.
    """
    return _read(read_text, path, kind)


def lines_of(path: Path, *, kind: str = "bad-text") -> list[str]:
    """The lines of a list that hold something, without the spaces around them; errors as for :func:`text_of`."""
    return [line.strip() for line in _read(read_lines, path, kind) if line.strip()]


def json_of(path: Path, *, kind: str = "not-json") -> Any:
    """The value of a JSON file; errors as for :func:`text_of`, and for what is not JSON."""
    return _read(read_json, path, kind)


def _read(read: Callable[[Path], Any], path: Path, kind: str) -> Any:
    try:
        return read(path)
    except FileError as error:
        raise DataError(str(error), kind=kind, file=path) from None
