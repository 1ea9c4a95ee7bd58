"""Text files: one rule for lists, class names, labels, YAML, CSV and JSON.

A byte order mark decides (UTF-8, UTF-16, UTF-32, as Windows' tools write them); without one the text is UTF-8. Anything
else is one error that names the file, the byte and the fix: Latin-1 is never guessed, since a wrong letter in a name or a
path is found much later, if at all.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from pathlib import Path
from typing import Any

from effdet.files.names import shown
from heads.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINES = re.compile(r"\r\n|\r|\n")


class FileError(UserError):
    """A file that cannot be read as what it should be.

    Args:
        path: the file.
        reason: what is wrong with it, and the fix.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{shown(path)}: {reason}")
        self.path = Path(path)
        self.reason = reason


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, without its byte order mark.

    Raises:
        FileError: it cannot be read, or is in no encoding that the rule knows.
    """
    return decode_text(read_bytes(path), path)


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file; only line ends separate them, and no line stands for a line end at the very end."""
    return text_lines(read_text(path))


def text_lines(text: str) -> list[str]:
    r"""`text` at its line ends; not at the form feeds and Unicode separators at which ``str.splitlines`` cuts."""
    lines = _LINES.split(text)
    return lines[:-1] if lines[-1] == "" else lines


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value of a JSON file; UTF-16 and UTF-32 need no byte order mark there (RFC 4627).

    Raises:
        FileError: it cannot be read, is in no known encoding, or not JSON.
    """
    content = read_bytes(path)
    bare = not any(content.startswith(mark) for mark, _ in _MARKS)
    text = decode_text(content, path, otherwise=json.detect_encoding(content) if bare else "utf-8")
    try:
        return json.loads(text)
    except RecursionError:
        raise FileError(path, "not JSON (nested too deeply)") from None
    except ValueError as error:
        raise FileError(path, f"not JSON ({str(error).splitlines()[0]})") from None


def decode_text(content: bytes, path: str | os.PathLike[str], *, otherwise: str = "utf-8") -> str:
    """`content` as text.

    Args:
        content: of a file.
        path: its name, for the error.
        otherwise: the encoding where there is no byte order mark.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", otherwise))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start + len(mark)
        line = content.count(b"\n", 0, at) + 1
        raise FileError(
            path,
            f"byte {content[at]:#04x} at position {at} (line {line}) is not {encoding.upper()}: save the file as UTF-8"
            + ("" if mark else " (Latin-1 and other encodings of one byte a letter are not guessed)"),
        ) from None
    if "\0" in text:
        at = text.index("\0")
        raise FileError(
            path, f"character {at} is a NUL, as in binary files or UTF-16 without its mark: save it as UTF-8"
        )
    return text


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises:
        FileError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or type(error).__name__})") from None
    except ValueError as error:  # a NUL in the name
        raise FileError(path, f"cannot be read ({error})") from None
