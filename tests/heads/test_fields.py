"""What annotations say that a field may hold."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from heads.errors import UserError
from heads.fields import Kind, admits, check_fields, describe, kinds_of


def kinds(annotation: str):
    return kinds_of(ast.parse(annotation, mode="eval").body)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [1, -3], [1.5, True, "1", None]),
        ('Annotated[int, "1.."]', [1, 99], [0, True]),
        ('Annotated[float, "0..1"]', [0, 0.5, 1], [1.01, -0.1, "x", float("nan")]),
        ('Annotated[float, "0<..<1"]', [0.5, 1e-9], [0, 1, 1.0]),
        ('Annotated[float, "0<.."]', [1e-9, 9], [0, float("inf")]),
        ('Annotated[float, "-4..8"] | None', [-4, 8, None], [-5, 9]),
        ("bool", [True, False], [0, 1, None, "true"]),
        ('Literal["auto"] | Annotated[int, "1.."]', ["auto", 3], ["aut", 0]),
        ("tuple[int, int]", [[1, 2], (1, 2)], [[1], [1, 2, 3], 1, ["a", "b"]]),
        ("tuple[str, ...]", [[], ["a"], ["a", "b"]], ["a", [1]]),
        ("Sequence[float | tuple[float, float]]", [[1.0, [1, 2]]], [[[1, 2, 3]], 1.0]),
        ("Path | None", ["/a b", None, Path("x")], [1, "", " "]),
        ("Mapping[str, Any]", [{}, {"a": 1}], [[], "a"]),
        ("Any", [{}, None, 1], []),
    ],
)
def test_annotations_admit(annotation, good, bad):
    found = kinds(annotation)
    assert found is not None
    assert all(admits(found, value) for value in good)
    assert not any(admits(found, value) for value in bad)


@pytest.mark.parametrize("annotation", ["Tensor", "list", "np.ndarray", "tuple[Tensor, ...]", "Optional[int]"])
def test_what_is_outside_of_the_grammar(annotation):
    assert kinds(annotation) is None


@pytest.mark.parametrize("text", ["1", "a..b", "1...", "0..1 "])
def test_a_misspelt_range(text):
    with pytest.raises(ValueError, match="not a range"):
        kinds(f'Annotated[float, "{text}"]')


def test_descriptions():
    found = kinds('Annotated[int, "1.."] | Annotated[float, "0..<1"] | tuple[int, int] | Literal["auto"] | None')
    assert found is not None
    assert describe(found) == "int ≥ 1 | float 0…<1 | [int, int] | auto | null"
    assert describe(kinds('Annotated[float, "0<.."]') or ()) == "float > 0"


def test_no_kinds_admit_anything():
    assert admits(None, object())
    assert not admits((Kind("null"),), 0)


@dataclass(frozen=True)
class Settings:
    share: Annotated[float, "0..1"] = 0.5
    rule: Literal["a", "b"] = "a"
    pair: tuple[int, int] | None = None
    free: Any = None

    def __post_init__(self) -> None:
        check_fields(self, "part.")


def test_fields_are_checked():
    Settings(1, "b", (1, 2))
    with pytest.raises(UserError, match=r"^part.share=1.5: must be float 0…1$"):
        Settings(1.5)
    with pytest.raises(UserError, match=r"^part.pair=\[1\]: must be \[int, int\] \| null$"):
        Settings(pair=(1,))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^part.share=inf: must be float 0…1, a finite number below 2\^63$"):
        Settings(float("inf"))
