"""Scalars of annotation files, whatever type a tool gave them: one rule for whole numbers, one for numbers, one for truth.

Tools write the same value in many ways: ``"iscrowd": "0"``, ``"image_id": "17"``, ``"id": 3.0``, ``<difficult>True``.
``bool("0")`` is True, so no reader may ask Python. Every reader, the doctor's checks, its repair and evaluation ask this file.
"""

from __future__ import annotations

import math
import re
from typing import Any

_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUE = frozenset({"true", "t", "yes", "y", "on"})
_FALSE = frozenset({"", "false", "f", "no", "n", "off", "none", "null"})
_INT64 = 2**63


def whole(value: Any) -> int | None:
    """A whole number: ``3``, ``3.0``, ``"3"``, ``"3.0"``; None for anything else (truth values too) and beyond 64 bits."""
    if type(value) is int:
        number = value
    elif type(value) is float:
        if not value.is_integer():  # NaN and the infinities are no integers either
            return None
        number = int(value)
    elif isinstance(value, str) and len(value) < 40 and _WHOLE.fullmatch(text := value.strip()):
        number = int(text.partition(".")[0])
    else:
        return None
    return number if -_INT64 <= number < _INT64 else None


def number(value: Any) -> float | int | None:
    """A number, also as text (``"12.5"``); None for anything else. Floats may be NaN or infinite: callers decide."""
    if type(value) is int:
        return value if abs(value) < _INT64 else None
    if type(value) is float:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(text := value.strip()):
        found = float(text)
        return found if math.isfinite(found) else None
    return None


def truth(value: Any) -> bool | None:
    """A truth value: 0 and 1 in every form of a number, ``true``/``false``, ``yes``/``no``, ``t``/``f``, ``y``/``n``,
    ``on``/``off`` in any case; what is missing or empty is False. None where the value says neither (``Unspecified``)."""
    if value is None or isinstance(value, bool):
        return bool(value)
    found = number(value)
    if found is not None:
        return bool(found) if found in (0, 1) else None
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def flag(value: Any) -> bool:
    """:func:`truth` for a flag that must be read one way or the other: what says neither is not set, except a positive
    number, which COCO's own tools count as set."""
    found = truth(value)
    if found is None:
        size = number(value)
        return size is not None and size > 0
    return found
