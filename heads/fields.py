"""What a field of a settings dataclass may hold, read from its annotation: type and range are stated there and nowhere else.

The annotations are text of one small grammar, so that a command line can read them without importing what they stand in.

===============================  =====================================================================
``int`` ``float`` ``bool``       a finite number (an int is a float); true or false
``str`` ``Path`` ``None``        text; text with a leading ``~`` for the home directory, never empty; nothing
``Any``                          anything
``Annotated[float, "0..1"]``     a bounded number, ends included; also ``"1.."``; ``<`` leaves an end out: ``"0<..<1"``
``Literal["a", "b"]``            one of these words
``tuple[int, int]``              a list of that length; ``tuple[str, ...]`` or ``Sequence[str]`` one of any length
``Mapping[str, Any]``            a mapping of any keys
``A | B``                        either
===============================  =====================================================================
"""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from heads.errors import UserError

TARGET = "_target_"
"""The key by which a mapping names a class or function of the user's own."""
_PLAIN = {"int": "int", "float": "float", "bool": "bool", "str": "str", "Path": "path", "Any": "any"}
_RANGE = re.compile(r"(?:(-?[\d.]*\d)(<)?)?\.\.(?:(<)?(-?[\d.]*\d))?")


@dataclass(frozen=True)
class Kind:
    """One alternative of what a value may be."""

    base: str
    """``int``, ``float``, ``bool``, ``null``, ``str``, ``path``, ``{}``, ``list``, ``any``, or ``literal`` for one word."""
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    """`low` itself is left out."""
    below: bool = False
    """`high` itself is left out."""
    items: tuple[Kinds, ...] = ()
    """Of a list: what each element may be; a single entry, with `open`, for any length."""
    open: bool = False
    literal: str = ""

    def __str__(self) -> str:
        if self.base == "literal":
            return self.literal
        if self.base == "list":
            return "[" + ", ".join([describe(item) for item in self.items] + ["..."] * self.open) + "]"
        low, high = self.low > -math.inf, self.high < math.inf
        if low and high:
            return f"{self.base} {'>' * self.above}{self.low:g}…{'<' * self.below}{self.high:g}"
        if low:
            return f"{self.base} {'>' if self.above else '≥'} {self.low:g}"
        return f"{self.base} {'<' if self.below else '≤'} {self.high:g}" if high else self.base

    def admits(self, value: Any) -> bool:
        """Whether a value is of this kind (a bool is not a number; an int is a float)."""
        match self.base:
            case "any":
                return True
            case "null":
                return value is None
            case "bool":
                return isinstance(value, bool)
            case "int" | "float":
                number = isinstance(value, int if self.base == "int" else (int, float)) and not isinstance(value, bool)
                return number and usable(value) and self._within(value)
            case "str":
                return isinstance(value, str)
            case "path":  # an empty one would be the current directory: an unset variable of the shell, hardly a choice
                return isinstance(value, str | os.PathLike) and os.fspath(value).strip() != ""
            case "{}":
                return isinstance(value, Mapping)
            case "literal":
                return value == self.literal
        if not isinstance(value, list | tuple):
            return False
        items = self.items * len(value) if self.open else self.items
        return len(items) == len(value) and all(map(admits, items, value))

    def _within(self, number: float) -> bool:
        low = number > self.low if self.above else number >= self.low
        return low and (number < self.high if self.below else number <= self.high)


Kinds = tuple[Kind, ...]
"""The alternatives of one value."""
NULL = Kind("null")

LARGEST = 2**63 - 1
"""The largest whole number that a tensor holds."""


def usable(number: float) -> bool:
    """Whether arithmetic can go on with `number`: it is finite, and no larger than a tensor holds."""
    return -LARGEST <= number <= LARGEST if isinstance(number, int) else math.isfinite(number)


def describe(kinds: Kinds) -> str:
    return " | ".join(map(str, kinds))


def textual(kinds: Kinds) -> bool:
    """Whether a value of these kinds may be text."""
    return any(kind.base in ("str", "path", "literal") for kind in kinds)


def admits(kinds: Kinds | None, value: Any) -> bool:
    """Whether `value` is of one of `kinds`; None admits anything."""
    return kinds is None or any(kind.admits(value) for kind in kinds)


def kinds_of(annotation: ast.expr) -> Kinds | None:
    """The kinds that an annotation spells; None for one outside of the grammar."""
    match annotation:
        case ast.Constant(value=None):
            return (NULL,)
        case ast.Name(id=name) if name in _PLAIN:
            return (Kind(_PLAIN[name]),)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            first, second = kinds_of(left), kinds_of(right)
            return None if first is None or second is None else first + second
        case ast.Subscript(value=ast.Name(id=name), slice=inside):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            return _subscribed(name, parts)
    return None


def _subscribed(name: str, parts: list[ast.expr]) -> Kinds | None:
    if name == "Mapping":
        return (Kind("{}"),)
    if name == "Literal":
        return tuple(Kind("literal", literal=str(part.value)) for part in parts if isinstance(part, ast.Constant))
    if name == "Annotated" and isinstance(parts[1], ast.Constant) and (base := kinds_of(parts[0])) is not None:
        return (_bounded(base[0], str(parts[1].value)),)
    if name not in ("tuple", "Sequence"):
        return None
    is_open = name == "Sequence" or isinstance(parts[-1], ast.Constant) and parts[-1].value is Ellipsis
    items = [kinds_of(part) for part in (parts[:1] if is_open else parts)]
    known = tuple(item for item in items if item is not None)
    return (Kind("list", items=known, open=is_open),) if len(known) == len(items) else None


def _bounded(kind: Kind, text: str) -> Kind:
    match = _RANGE.fullmatch(text)
    if match is None or kind.base not in ("int", "float"):
        raise ValueError(f"{kind.base}: {text!r} is not a range such as 0..1, 1.., 0<..1")
    low, above, below, high = match.groups()
    ends = float(low) if low else -math.inf, float(high) if high else math.inf
    return Kind(kind.base, *ends, above=bool(above), below=bool(below))


@lru_cache(maxsize=256)
def _declared(settings: type) -> dict[str, Kinds]:
    texts = {field.name: field.type for field in fields(settings)}
    found = {name: kinds_of(ast.parse(text, mode="eval").body) for name, text in texts.items() if isinstance(text, str)}
    return {name: kinds for name, kinds in found.items() if kinds is not None}


def check_fields(
    settings: Any, prefix: str, error: type[ValueError] = UserError, *, without: Collection[str] = ()
) -> None:
    """Compare the fields of a dataclass with their annotations.

    Args:
        settings: an instance; its module has ``from __future__ import annotations``.
        prefix: what stands before a field's name in messages, such as ``optimizer.``.
        error: what is raised.
        without: fields that are left out.

    Raises:
        error: for the first field whose value is not what its annotation says.
    """
    for name, kinds in _declared(type(settings)).items():
        if name not in without and not admits(kinds, value := getattr(settings, name)):
            shown = "null" if value is None else list(value) if isinstance(value, tuple) else value
            finite = isinstance(value, int | float) and not usable(value)
            raise error(f"{prefix}{name}={shown}: must be {describe(kinds)}{', a finite number below 2^63' * finite}")
