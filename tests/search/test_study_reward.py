"""The reward against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from effdet.search.study import FAILED, Reward, reward_of


def test_soft_reward_by_hand():
    soft = reward_of("soft", 400.0)
    assert soft(0.75, 400.0) == 0.75
    assert soft(0.75, 800.0) == pytest.approx(0.75 * 0.95264, abs=1e-5)  # 2 ** -0.07
    assert soft(0.75, 200.0) == pytest.approx(0.75 * 1.04972, abs=1e-5)
    assert soft(0.75 * 1.05, 800.0) == pytest.approx(0.75, rel=1e-3)  # twice the cost for 5 % of accuracy


def test_hard_reward_by_hand():
    hard = reward_of("hard", 400.0)
    assert hard(0.75, 100.0) == hard(0.75, 400.0) == 0.75
    assert hard(0.75, 500.0) == pytest.approx(0.6)


def test_what_is_not_finite_is_worth_nothing():
    assert reward_of("soft", 1.0)(math.nan, 1.0) == reward_of("soft", 1.0)(0.5, math.inf) == FAILED == 0


@pytest.mark.parametrize(
    ("values", "text"), [((0.0, -1, -1), "target"), ((1.0, 0.1, -1), "alpha"), ((1.0, 0, 1), "beta")]
)
def test_bad_settings(values, text):
    with pytest.raises(ValueError, match=f"{text} must"):
        Reward(*values)
