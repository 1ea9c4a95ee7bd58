"""Dataclasses from mappings: one rule for keys that are not fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], *, what: str, error: type[Exception] = ValueError) -> T:
    """The dataclass `cls` with `values`.

    Args:
        cls: a dataclass.
        values: by field; those that are missing take their defaults.
        what: the part that `values` describe, as the user writes it, such as ``neck``.
        error: raised for a key that is not a field.
    """
    check_keys(values, [field.name for field in fields(cls)], what=what, error=error)  # type: ignore[arg-type]
    return cls(**values)


def check_keys(
    values: Mapping[str, Any], known: Collection[str], *, what: str, error: type[Exception] = ValueError
) -> None:
    """Refuses a key of `values` that is not among `known`; `what` and `error` as in :func:`build`."""
    if unknown := next((key for key in values if key not in known), None):
        raise error(f"{what}.{unknown} is not a setting; {what} has {', '.join(known)}")


def as_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with each list as a tuple, as frozen dataclasses hold them and JSON and YAML do not."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def as_lists(value: Any) -> Any:
    """`value` with each tuple inside as a list."""
    if isinstance(value, Mapping):
        return {key: as_lists(item) for key, item in value.items()}
    return [as_lists(item) for item in value] if isinstance(value, list | tuple) else value
