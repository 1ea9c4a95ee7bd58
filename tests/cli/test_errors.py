"""Suggestions."""

import pytest

from effdet.cli.overrides import ConfigError, closest, did_you_mean, is_user_error
from heads.structures import UserError

KEYS = ["seed", "image_size", "optimizer.lr", "trainer.max_epochs", "trainer.min_epochs", "data.val_fraction", "ema"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sed", "seed"),
        ("imagesize", "image_size"),
        ("lr", "optimizer.lr"),
        ("optimiser.lr", "optimizer.lr"),
        ("epochs", "trainer.max_epochs"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("fraction", "data.val_fraction"),
        ("zzz", None),
        ("", None),
    ],
)
def test_closest(override, expected):
    assert closest(override, KEYS) == expected


def test_did_you_mean_is_empty_where_nothing_is_near():
    assert did_you_mean("zzz", KEYS) == ""
    assert did_you_mean("sed", KEYS) == "; did you mean seed?"


def test_a_problem_is_reported_once():
    assert ConfigError(["a", "b", "a"]).problems == ("a", "b")


@pytest.mark.parametrize("error", [ConfigError(["x"]), UserError("x"), FileNotFoundError(2, "no such file", "x")])
def test_users_errors(error):
    assert is_user_error(error)


def test_bugs_are_no_users_errors():
    assert not is_user_error(ValueError("x"))
    assert not is_user_error(KeyError("x"))
