"""Levels of equal cost."""

import pytest

from effdet.search.equal_macs import Level, equal, levels


def test_levels_are_the_different_models():
    found = levels(lambda factor: round(10 * factor), float, target=12, low=1.0, step=0.01)
    assert [level.model for level in found] == [10, 11, 12, 13, 14, 15]
    assert [level.macs for level in found] == [10, 11, 12, 13, 14, 15]
    assert found[1].factor == pytest.approx(1.06)  # 10.5 is rounded to even


def test_an_axis_of_large_steps_gives_its_nearest():
    found = levels(lambda factor: int(factor), lambda model: 10.0 * model, target=14, low=1.0)
    assert [level.macs for level in found] == [10]
    beyond = levels(lambda factor: int(factor), lambda model: 100.0 * model, target=14, low=1.0)
    assert [level.macs for level in beyond] == [100]


def test_the_common_cost_that_all_come_near():
    axes = {
        "depth": [Level(1.0, "d", 90.0), Level(1.5, "e", 106.0)],
        "width": [Level(1.0, "w", 97.0), Level(1.1, "x", 105.0), Level(1.2, "y", 115.0)],
    }
    chosen = equal(axes, target=100)
    assert (chosen["depth"].model, chosen["width"].model) == ("e", "x")


def test_a_hit_stays():
    axes = {"a": [Level(1.0, 1, 100.0), Level(1.0, 2, 103.0)], "b": [Level(1.0, 1, 100.0), Level(1.0, 2, 103.0)]}
    assert {level.macs for level in equal(axes, target=100).values()} == {100.0}


def test_a_common_cost_may_lie_between_those_that_are_reached():
    axes = {
        "depth": [Level(1.0, "d", 105.5)],
        "width": [Level(1.0, "w", 103.3), Level(1.1, "x", 107.3)],
        "resolution": [Level(1.3, "r", 97.4), Level(1.4, "s", 154.0)],
    }
    chosen = equal(axes, target=122)
    assert [level.macs for level in chosen.values()] == [105.5, 103.3, 97.4]  # within 4 % of 101.45


def test_few_models_far_below_the_target_are_counted():
    counted = []
    found = levels(lambda factor: factor, lambda model: counted.append(model) or model, target=40, low=1.0, step=0.1)
    assert found[0].macs == pytest.approx(28) and found[-1].macs == pytest.approx(52)
    assert sum(model < 28 for model in counted) <= 20  # of 270


def test_an_axis_that_stays_where_it_is_ends():
    assert [level.macs for level in levels(lambda factor: "same", lambda model: 5.0, target=5, low=0.0)] == [5]
    assert equal({}, target=1.0) == {}
