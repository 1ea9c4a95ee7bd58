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


def unquote(text: str) -> str:
    r"""The value that :func:`quote` was given, of the text that Hydra's parser finds between its quotes."""
    # Pairs of backslashes in front of an escaped "${", which quote() doubled, are halved; the escape itself goes.
    return re.sub(r"(\\)*\\\$\{", lambda match: "\\" * ((len(match[0]) - 3) // 2) + "${", text)


def split_choices(value: str) -> list[str]:
    r"""The values between the commas of `value`; commas in quotes or brackets, or behind a backslash, separate nothing.

    Quotes count where a value or an item of a list begins: ``it's,mine`` is two values. Brackets that are never closed are
    letters. A value in quotes is what stands between them.
    """
    parts = _split(value, brackets=True)
    return [_plain(part) for part in (parts if parts is not None else _split(value, brackets=False) or [value])]


def _split(value: str, *, brackets: bool) -> list[str] | None:
    parts, depth, quote_mark, at_start, skip = [""], 0, "", True, False
    for letter in value:
        if skip or (letter == "\\" and not skip):
            skip = not skip
        elif quote_mark:
            quote_mark = "" if letter == quote_mark else quote_mark
        elif letter in "'\"" and at_start:
            quote_mark = letter
        elif brackets and letter in "[{(":
            depth += 1
        elif brackets and letter in ")}]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            at_start = True
            continue
        at_start = letter in ",[{(: " and (depth > 0 or letter == " ") and not skip
        parts[-1] += letter
    return None if depth or quote_mark else parts


def _plain(part: str) -> str:
    text = part.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        mark = text[0]
        return re.sub(rf"(\\+)({mark}|\Z)", lambda m: "\\" * (len(m[1]) // 2) + m[2], text[1:-1])
    return part.replace("\\,", ",")


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
