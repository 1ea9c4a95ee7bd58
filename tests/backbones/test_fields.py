"""Dataclasses from mappings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from backbones.fields import as_tuples, build, check_keys


@dataclass(frozen=True)
class Part:
    a: int
    b: tuple[int, ...] = ()


def test_a_key_that_is_not_a_field_is_one_line():
    assert build(Part, {"a": 1}, what="part") == Part(1)
    with pytest.raises(KeyError, match=r"part\.c is not a setting; part has a, b"):
        build(Part, {"a": 1, "c": 2}, what="part", error=KeyError)
    with pytest.raises(ValueError, match=r"x\.b is not a setting; x has a"):
        check_keys({"b": 1}, ["a"], what="x")


def test_lists_become_tuples():
    assert build(Part, as_tuples({"a": 1, "b": [2, 3]}), what="part") == Part(1, (2, 3))
