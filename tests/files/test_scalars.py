"""Whole numbers, numbers and truth values as tools write them."""

from __future__ import annotations

import math

import pytest

from effdet.files.scalars import flag, number, truth, whole


@pytest.mark.parametrize(
    ("value", "result"),
    [(3, 3), (-2, -2), (3.0, 3), ("3", 3), (" 03 ", 3), ("3.0", 3), ("-1", -1), ("3.", 3)]
    + [
        (value, None)
        for value in (True, None, 3.5, "3.5", "x", "", "1_0", "٣", math.nan, math.inf, 2**70, [3], "9" * 30)
    ],
)
def test_whole(value, result):
    assert whole(value) == result
    assert result is None or type(whole(value)) is int


@pytest.mark.parametrize(
    ("value", "result"),
    [(3, 3), (2.5, 2.5), ("2.5", 2.5), ("-.5", -0.5), ("1e2", 100.0), (math.inf, math.inf)]
    + [(value, None) for value in (True, None, "", "nan", "inf", "1e999", "1_0", "0,5", [1], 2**70)],
)
def test_number(value, result):
    assert number(value) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [(value, True) for value in (True, 1, 1.0, "1", "1.0", "true", "TRUE", " Yes ", "y", "t", "on")]
    + [(value, False) for value in (False, 0, 0.0, None, "", " ", "0", "0.0", "false", "No", "n", "F", "off", "none")]
    + [(value, None) for value in ("Unspecified", "maybe", 2, -1, "2", 0.5, math.nan, [], {})],
)
def test_truth(value, result):
    assert truth(value) is result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("Unspecified", False),
        (2, True),
        ("2", True),
        (-1, False),
        ([], False),
        (math.nan, False),
        ("0", False),
        (1, True),
    ],
)
def test_flag(value, result):
    assert flag(value) is result
