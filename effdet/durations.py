"""Lengths of time as people write them: ``2h``, ``1h30m``, ``90 min``, ``45s``, ``01:30:00``, ``{hours: 1}``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
"""Seconds in each unit, by its first letter."""
_PARTS = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1, "milliseconds": 1e-3}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(d|days?|h|hours?|hrs?|m|min|mins|minutes?|s|secs?|seconds?)(?![a-z])\s*")
_FORMS = "write 2h, 1h30m, 45m, HH:MM:SS, DD:HH:MM:SS or {hours: 2}"


def seconds(value: Any) -> float | None:
    """Seconds that `value` says, or None where it says no length of time.

    A plain number has no unit and says none. ``HH:MM:SS`` and ``DD:HH:MM:SS`` have three or four parts: two could be
    hours and minutes or minutes and seconds.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        known = all(key in _PARTS and _is_number(number) for key, number in value.items())
        return sum(_PARTS[key] * number for key, number in value.items()) if known and value else None
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if re.fullmatch(r"\d+:\d+:\d+(:\d+)?", text):
        numbers = [int(part) for part in text.split(":")]
        return float(sum(number * unit for number, unit in zip(reversed(numbers), (1, 60, 3600, 86400), strict=False)))
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            return None
        total, at = total + float(part[1]) * UNITS[part[2][0]], part.end()
    return total if text else None


def seconds_of(value: Any, key: str) -> float | None:
    """Seconds of the value of `key`; None where it is None.

    Raises:
        ValueError: no length of time, or not above 0.
    """
    if value is None:
        return None
    found = seconds(value)
    if found is None:
        raise ValueError(f"{key}={value}: is not a length of time; {_FORMS}")
    if not 0 < found < math.inf:
        raise ValueError(f"{key}={value}: must be longer than nothing; {_FORMS}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
