"""Names of files: which are hidden, how bytes that are not UTF-8 travel, how two files of one name are distinguished.

POSIX names are bytes. Python hands undecodable bytes on as lone surrogates ("surrogateescape", PEP 383): such a string
opens the right file, but cannot be encoded as UTF-8. :func:`encode_name` and :func:`decode_name` are the round trip,
:func:`shown` is for people.

Which files are images by their name: those whose suffix Pillow can decode, whatever the case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

HIDDEN = frozenset(
    {
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "#recycle", "lost+found", "__pycache__", "icon\r"),
    }
)
"""Names, in lower case, that systems and tools leave beside the user's files; names that begin with a dot come on top."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is skipped when its folder is listed.

    Args:
        name: the last part of a path.
    """
    return name.startswith(".") and name not in (".", "..") or name.lower() in HIDDEN


def encode_name(name: str | os.PathLike[str]) -> bytes:
    """The bytes of a name: UTF-8, with undecodable bytes as they stand in the file system."""
    try:
        return os.fspath(name).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a UTF-16 pair, which JSON's escapes can make and Windows allows
        return os.fspath(name).encode("utf-8", "surrogatepass")


def decode_name(name: bytes) -> str:
    """The name that :func:`encode_name` encoded."""
    return name.decode("utf-8", "surrogateescape")


def shown(name: str | os.PathLike[str]) -> str:
    r"""A name for people and for files of results: bytes that are not UTF-8 become ``\xe9``, control characters too."""
    text = encode_name(name).decode("utf-8", "backslashreplace")
    return (
        text if text.isprintable() else "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
    )


def distinct_names(paths: Iterable[str | os.PathLike[str]], suffix: str) -> list[str]:
    """``STEM`` + `suffix` for each path, with ``_2``, ``_3``, … behind the stem where that name is taken.

    Names that differ in case only count as taken: some file systems take ``A.jpg`` for ``a.jpg``.
    """
    stems = [os.path.splitext(os.path.basename(os.fspath(path)))[0] for path in paths]
    own = {stem.casefold() for stem in stems}
    taken: set[str] = set()
    names = []
    for stem in stems:
        number, name = 1, stem
        while name.casefold() in taken or (number > 1 and name.casefold() in own):
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.casefold())
        names.append(f"{name}{suffix}")
    return names


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


NOT_IMAGES = frozenset(
    {
        *(".mpg", ".mpeg"),  # videos, of which Pillow reads the size only
        *(".bufr", ".grib", ".h5", ".hdf", ".wmf", ".emf"),  # read by a handler that nobody has installed
        *(".eps", ".ps"),  # programs, run by Ghostscript
    }
)
"""Suffixes that Pillow registers without being able to decode such files by itself."""
ALWAYS = frozenset({".mpo"})
"""Suffixes that Pillow registers for writing only, of formats that it reads."""


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """Suffixes of images in lower case, with the dot: what this installation's Pillow reads (AVIF from 11.3 on)."""
    from PIL import Image

    Image.init()
    known = {suffix.lower() for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    return frozenset(known - NOT_IMAGES | ALWAYS)


def is_image(name: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is taken for an image when its folder is listed."""
    return os.path.splitext(os.fspath(name))[1].lower() in image_suffixes()
