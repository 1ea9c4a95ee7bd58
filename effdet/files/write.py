"""Writing: a file is there whole or not at all, and nothing of the user's is ever overwritten."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from effdet.files.names import shown
from effdet.files.walk import identity
from heads.errors import UserError

PARTIAL = ".part"
"""In the names of files that are being written; they begin with a dot, so that no listing finds them."""
_NO_FSYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS, errno.EISDIR, errno.EACCES}
"""What a system says of a file or directory that it does not flush by request."""


@contextmanager
def replacing(path: str | os.PathLike[str], *, previous: Path | None = None) -> Iterator[Path]:
    """Gives the name of a file to be written in place of `path`, which it replaces at the end of the block.

    The file lies in the same folder (made if need be) and has the same suffix, by which libraries choose a format. Its
    bytes are on the disk before it takes the name, which it does in one step; permissions stay what they were. `path`
    may be a link: what it points to is replaced. Whatever goes wrong, `path` stays as it was and nothing is left behind.

    Args:
        path: of the file.
        previous: what was at `path` is kept under this name, in the same folder.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}{path.suffix}")
    try:
        yield partial
        move_into_place(partial, path, previous=previous)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def move_into_place(partial: Path, path: Path, *, previous: Path | None = None) -> None:
    """Gives a complete file its name in one step; for files that are written over a longer time than one block of code.

    Args:
        partial: the file, on the same disk as `path`. Its bytes are on the disk before it takes the name.
        path: the name. A file that is there is replaced; its permissions stay.
        previous: the name that the replaced file takes.
    """
    with suppress(OSError):
        os.chmod(partial, stat.S_IMODE(os.stat(path).st_mode))
    _to_disk(partial)
    if previous is not None and path.exists():
        os.replace(path, previous)
    os.replace(partial, path)
    _to_disk(path.parent)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to be filled, which takes the name `path` at the end of the block, complete; one process at a time.

    What an interrupted process left is removed first. `path` may be an empty folder. Whatever goes wrong, nothing is left.
    """
    draft = path.with_name(f".{path.name}{PARTIAL}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        yield draft
        if path.is_dir():
            path.rmdir()
        os.replace(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Gives an empty hidden folder in `parent` (made if need be), which is removed at the end of the block."""
    directory = parent / f".{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}"
    try:
        directory.mkdir(parents=True)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remove_partial(directory: str | os.PathLike[str]) -> None:
    """Removes the files that killed processes left half-written in `directory`; only where no other process writes there."""
    for path in Path(directory).glob(f".*{PARTIAL}*"):
        with suppress(OSError):
            path.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes `content` to `path`, whole or not at all; returns the path."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    r"""Writes `text` as UTF-8 with the line ends that it has, whole or not at all; returns the path.

    Lone surrogates (of file names that are not UTF-8) are written as ``\udce9``: valid UTF-8 for every reader, and in JSON
    the escape that reads back as the same name.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def refuse_overwriting(
    targets: Iterable[str | os.PathLike[str]], sources: Iterable[str | os.PathLike[str]], *, key: str
) -> None:
    """Refuses to write over what is read.

    Args:
        targets: files that would be written.
        sources: files of the user's.
        key: what the user can change, as it is written on the command line (``out=DIR``).

    Raises:
        UserError: a target is one of the sources, by whatever path or link.
    """
    paths, files = set(), set()
    for source in sources:
        paths.add(os.path.realpath(source))
        with suppress(OSError, ValueError):
            files.add(identity(source))
    for target in targets:
        clash = os.path.realpath(target) in paths
        with suppress(OSError, ValueError):
            clash = clash or identity(target) in files
        if clash:
            raise UserError(f"{key}: {shown(target)} would be written over a file of the source; name another folder")


def refuse_replacing(path: str | os.PathLike[str], is_ours: Callable[[Path], bool], *, key: str, what: str) -> None:
    """Refuses to replace a file that is there and was not written by this program.

    Args:
        path: of the file that would be written.
        is_ours: whether what is there is such a file; whatever it raises means no.
        key: as in `refuse_overwriting`.
        what: the kind of file, such as "a model file".

    Raises:
        UserError: it is none.
    """
    if not os.path.lexists(path):
        return
    with suppress(Exception):
        if is_ours(Path(path)):
            return
    raise UserError(f"{key}: {shown(path)} is there already and is not {what}; name another")


def _to_disk(path: Path) -> None:
    """fsync of a file or folder, where the system can; a disk that is full or broken is an error."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder on Windows, or a file that its owner may not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(handle)
