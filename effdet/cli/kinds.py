"""The small language in which ``conf/`` says what a value may be.

A key's line ends with a comment that opens with its kinds: ``image_size: null  # int 1.. | [int, int] | null: explanation``.

====================  =====================================================================
``int`` ``float``     a number; ``int 1..``, ``float 0..1`` bound it (ends included); always finite
``bool`` ``null``     true or false; nothing
``str`` ``path``      text that arrives as typed; in a path a leading ``~`` is the home folder
``[int, int]``        a list of that length; ``[str, ...]`` one of any length
``{}``                a mapping of any keys
any other words       those very words (two or more: ``a | b``)
====================  =====================================================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

_BASES = ("int", "float", "bool", "null", "str", "path", "{}")
_BOUNDED = re.compile(r"(int|float)(?:\s+(-?[\d.]*\d)?\.\.(-?[\d.]*\d)?)?")
_WORD = re.compile(r"[A-Za-z0-9_+-]+")


@dataclass(frozen=True)
class Kind:
    """One alternative of what a value may be."""

    base: str
    """One of the language's words, ``"list"``, or ``"word"`` for a literal."""
    low: float = -math.inf
    high: float = math.inf
    items: tuple[Kind, ...] = ()
    """Of a list: the kind of each element; a single one, with `open`, for any length."""
    open: bool = False
    word: str = ""

    def __str__(self) -> str:
        if self.base == "word":
            return self.word
        if self.base == "list":
            return "[" + ", ".join([str(item) for item in self.items] + ["..."] * self.open) + "]"
        if self.low > -math.inf and self.high < math.inf:
            return f"{self.base} {self.low:g}…{self.high:g}"
        if self.low > -math.inf:
            return f"{self.base} ≥ {self.low:g}"
        return f"{self.base} ≤ {self.high:g}" if self.high < math.inf else self.base

    def admits(self, value: Any) -> bool:
        """Whether a composed value is of this kind (a bool is no number; an int is a float)."""
        match self.base:
            case "null":
                return value is None
            case "bool":
                return isinstance(value, bool)
            case "int" | "float":
                number = isinstance(value, int if self.base == "int" else (int, float)) and not isinstance(value, bool)
                return number and usable(value) and self.low <= value <= self.high
            case "str":
                return isinstance(value, str)
            case "path":  # nothing would be the current folder: an unset variable of the shell, hardly a choice
                return isinstance(value, str) and value.strip() != ""
            case "{}":
                return isinstance(value, dict)
            case "word":
                return value == self.word
        if not isinstance(value, list):
            return False
        items = self.items * len(value) if self.open else self.items
        return len(items) == len(value) and all(map(Kind.admits, items, value))


Kinds = tuple[Kind, ...]

LARGEST = 2**63 - 1
"""The largest whole number that a tensor holds."""


def usable(number: float) -> bool:
    """Whether arithmetic can go on with `number`: it is finite, and no larger than a tensor holds."""
    return -LARGEST <= number <= LARGEST if isinstance(number, int) else math.isfinite(number)


def parse_kinds(text: str) -> Kinds | None:
    """The kinds that `text` spells, or None where it is something else (an ordinary comment)."""
    kinds = [_parse_kind(part.strip()) for part in _split(text, "|")]
    known = tuple(kind for kind in kinds if kind is not None)
    if len(known) < len(kinds) or (len(known) == 1 and known[0].base == "word"):
        return None  # "note: …" is prose; a choice of one word would be no choice
    return known


def _parse_kind(text: str) -> Kind | None:
    if bounded := _BOUNDED.fullmatch(text):
        base, low, high = bounded.groups()
        return Kind(base, float(low) if low else -math.inf, float(high) if high else math.inf)
    if text in _BASES:
        return Kind(text)
    if text.startswith("[") and text.endswith("]"):
        parts = [part.strip() for part in _split(text[1:-1], ",")]
        is_open = parts[-1] == "..."
        items = [_parse_kind(part) for part in (parts[:-1] if is_open else parts)]
        return None if None in items or not items else Kind("list", items=tuple(items), open=is_open)  # type: ignore[arg-type]
    return Kind("word", word=text) if _WORD.fullmatch(text) else None


def _split(text: str, separator: str) -> list[str]:
    """Splits at separators outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def guess_kinds(default: Any) -> Kinds | None:
    """The kinds of a key whose line names none, by its default value; None admits anything."""
    match default:
        case bool():
            return (Kind("bool"), Kind("null"))
        case int() | float():
            return (Kind("float"), Kind("null"))
    return None


def describe(kinds: Kinds) -> str:
    return " | ".join(map(str, kinds))


def textual(kinds: Kinds) -> bool:
    """Whether a value of these kinds may be text."""
    return any(kind.base in ("str", "path", "word") for kind in kinds)


def admits(kinds: Kinds | None, value: Any) -> bool:
    return kinds is None or any(kind.admits(value) for kind in kinds)
