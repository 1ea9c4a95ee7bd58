"""The pictures of a file, a folder, a pattern or a list file, in a fixed order."""

from __future__ import annotations

from pathlib import Path

from effdet.addresses import is_pattern, matches, without_credentials
from effdet.data.images import SUFFIXES
from heads.structures import UserError

LISTS = (".txt", ".lst")
"""Names of files that hold one path a line."""


def find_pictures(source: str, *, leave_out: Path | None = None) -> list[Path]:
    """The pictures of `source`.

    Args:
        source: a picture; a folder, searched with all below it, hidden files left out; a pattern, ``**`` for folders of any
            depth (what is there under that very name is no pattern); or a list file: one path a line, relative to the
            list's folder or to the current one, ``#`` for remarks.
        leave_out: a folder whose pictures are our own results.

    Returns:
        Sorted by path; a list file's in its own order.

    Raises:
        UserError: there are none, or a list names one that is not there.
    """
    path = Path(source)
    if path.is_file():
        return _listed(path) if path.suffix.lower() in LISTS else [path]
    if path.is_dir():
        found = [entry for entry in sorted(path.rglob("*")) if is_picture(entry) and not _hidden(entry, path)]
    else:
        found = [entry for entry in matches(source) if entry.is_file()] if is_pattern(source) else []
    ours = None if leave_out is None else leave_out.resolve()
    if ours is not None and ours != path.resolve():
        found = [entry for entry in found if ours not in entry.resolve().parents]
    if not found:
        what = "a folder without pictures" if path.is_dir() else "no such picture, folder, pattern or video"
        raise UserError(f"source={without_credentials(source)}: {what} (pictures end in {', '.join(sorted(SUFFIXES))})")
    return found


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a picture."""
    return path.suffix.lower() in SUFFIXES


def _hidden(entry: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in entry.relative_to(root).parts)


def _listed(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: a list of pictures must be UTF-8 text with one path a line") from None
    found = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        beside = path.parent / Path(name).expanduser()
        picture = beside if beside.is_file() else Path(name)
        if not picture.is_file():
            raise UserError(f"{path}, line {number}: {name}: no such picture (relative to {path.parent}, or to here)")
        found.append(picture)
    if not found:
        raise UserError(f"source={path}: the list names no picture; it takes one path a line")
    return found
