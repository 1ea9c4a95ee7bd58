"""The small language of conf/'s comments."""

import pytest

from effdet.cli.kinds import Kind, admits, describe, parse_kinds


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("int", [1, -3], [1.5, True, "1", None]),
        ("int 1..", [1, 99], [0, True]),
        ("float 0..1", [0, 0.5, 1], [1.01, -0.1, "x"]),
        ("float -4..8 | null", [-4, 8, None], [-5, 9]),
        ("bool", [True, False], [0, 1, None, "true"]),
        ("auto | int 1..", ["auto", 3], ["aut", 0]),
        ("[int, int]", [[1, 2]], [[1], [1, 2, 3], 1, ["a", "b"]]),
        ("[str, ...]", [[], ["a"], ["a", "b"]], ["a", [1]]),
        ("path | null", ["/a b", None], [1, "", " "]),
        ("{}", [{}, {"a": 1}], [[], "a"]),
    ],
)
def test_kinds_admit(text, good, bad):
    kinds = parse_kinds(text)
    assert kinds is not None
    assert all(admits(kinds, value) for value in good)
    assert not any(admits(kinds, value) for value in bad)


@pytest.mark.parametrize("text", ["note", "half of it, or less", "[int", "int 1...", "see `effdet info`"])
def test_prose_is_not_taken_for_kinds(text):
    assert parse_kinds(text) is None


def test_kinds_are_described_as_people_write():
    kinds = parse_kinds("int 1.. | float 0..1 | [int, int] | auto | null")
    assert kinds is not None
    assert describe(kinds) == "int ≥ 1 | float 0…1 | [int, int] | auto | null"


def test_a_key_without_kinds_admits_anything():
    assert admits(None, object())
    assert not admits((Kind("null"),), 0)
