r"""Values that must arrive as they were typed, whatever Hydra's grammar makes of their characters.

Two readers stand between a shell word and the configuration: Hydra's override grammar (``,[]{}()=:'"\`` and spaces mean
something to it) and OmegaConf's interpolation (``${x}``). :func:`quote` undoes both.
"""

from __future__ import annotations

import os
import re


def quote(value: str) -> str:
    r"""`value` as a Hydra override value that arrives letter for letter: ``it's`` becomes ``'it\'s'``."""
    # OmegaConf first: "${" opens an interpolation unless an odd number of backslashes stands before it, of which each
    # pair is then read as one.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    # Then Hydra: backslashes count only where a quote follows them, the closing one included.
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", escaped)
    escaped = re.sub(r"(\\+)\Z", lambda match: match[1] * 2, escaped)
    return f"'{escaped}'"


def expand(value: str) -> str:
    """`value` with a leading ``~`` or ``~user`` replaced by the home folder."""
    return os.path.expanduser(value) if value.startswith("~") else value


_NUMBER = re.compile(r"[+-]?(\d[\d_]*)?\.?\d+([eE][+-]?\d+)?|[+-]?\d+\.|[+-]?(inf|nan)", re.IGNORECASE)


def shape(value: str) -> str:
    """What the text looks like to Hydra: ``"null"``, ``"bool"``, ``"number"``, ``"list"``, ``"dict"`` or ``"text"``."""
    text = value.strip()
    if text.lower() == "null":
        return "null"
    if text.lower() in ("true", "false"):
        return "bool"
    if _NUMBER.fullmatch(text):
        return "number"
    if text.startswith("[") and text.endswith("]"):
        return "list"
    if text.startswith("{") and text.endswith("}"):
        return "dict"
    return "text"
