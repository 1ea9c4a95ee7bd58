"""What a user's text names: an address, a file, or a pattern; and addresses without what is secret in them.

Two rules have their only place here:

* **A name is a name before it is a pattern.** A text, or its leading folders, that exist as they are written are taken
  literally; only what remains may be a pattern. ``My trip [dQw4w9WgXcQ].mp4`` is that file.
* **No credential of an address is printed or written.** Users and passwords, queries (``?token=``, signed addresses) and path
  parts that set something (``user=admin&password=x``, as some cameras have them) are left out; scheme, host, port and the
  plain path stay.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://\S+")
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
_SECRET = re.compile(r"(user|usr|login|pass|pwd|pw|token|key|secret|sig|auth|cred|session)[\w-]*(=|%3D)", re.IGNORECASE)
_LETTERS = re.compile(r"[*?\[]")


def is_address(text: str) -> bool:
    """Whether `text` begins with a scheme, as ``rtsp://…`` does. (``C://`` is a Windows drive.)"""
    return _SCHEME.match(text) is not None


def without_credentials(address: str) -> str:
    """`address` as it may be shown; a text that is no address stays as it is.

    Example::

        >>> without_credentials("rtsp://admin:s3cret@192.168.1.20:554/live?token=x")
        'rtsp://192.168.1.20:554/live'
    """
    if not is_address(address):
        return address
    scheme, _, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif "@" in rest and ":" in host:  # a password with / ? or # in it, written without percent signs
        rest = rest[rest.rindex("@") + 1 :]
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, *parts = rest.split("/")
    plain = [part for part in parts if not _SECRET.search(part)]
    return f"{scheme}://{'/'.join([host, *plain])}"


def without_credentials_in(text: str) -> str:
    """`text`, such as another library's error, with every address in it as :func:`without_credentials` shows it."""

    def shown(match: re.Match[str]) -> str:
        address = match[0].rstrip(".,:;)]}>'\"")
        return without_credentials(address) + match[0][len(address) :]

    return _TOKEN.sub("hf_…", _IN_TEXT.sub(shown, text))


def shown_values(values: Any) -> Any:
    """Nested lists and mappings with every text in them as :func:`without_credentials` shows it."""
    if isinstance(values, str):
        return without_credentials(values)
    if isinstance(values, dict):
        return {key: shown_values(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [shown_values(value) for value in values]
    return values


def is_pattern(text: str) -> bool:
    """Whether `text` is a pattern: it has one of ``* ? [``, is no address, and nothing of that very name is there."""
    return _LETTERS.search(text) is not None and not is_address(text) and not os.path.lexists(text)


def matches(pattern: str) -> list[Path]:
    """What fits `pattern`, ``**`` for folders of any depth, sorted by path.

    Leading folders that exist as they are written are names: ``Trip [2024]/*.jpg`` looks into ``Trip [2024]``. Hidden files
    and folders fit only a pattern that writes their dot.
    """
    from effdet.files import matching  # here, since answers such as --help import this module and nothing of heads

    root, parts = Path(Path(pattern).anchor), list(Path(pattern).parts)
    if root.parts:
        parts = parts[1:]
    while parts and os.path.lexists(root / parts[0]):
        root /= parts.pop(0)
    if not parts:
        return [root]
    return sorted(matching(root, parts))
