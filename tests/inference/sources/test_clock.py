"""Times of frames, worked out by hand."""

from fractions import Fraction

import pytest

from effdet.inference.sources.clock import Clock


def times(raw, *, step=1, **options):
    clock = Clock(Fraction(step), **options)
    return [clock.time(None if value is None else Fraction(value)) for value in raw]


@pytest.mark.parametrize(
    ("raw", "right"),
    [
        ([5, 6, 7], [0, 1, 2]),  # a clock that begins anywhere
        ([-2, -1, 0], [0, 1, 2]),
        ([0, 1, 5, 6], [0, 1, 5, 6]),  # a long step is a long step
        ([0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 4, 5]),  # joined recordings
        ([0, 1, 2, 1, 2, 3], [0, 1, 2, 3, 4, 5]),
        ([7, 8, 0, 1, 100, 101, 0], [0, 1, 2, 3, 102, 103, 104]),
        ([0, 2, 1, 4, 3, 6], [0, 2, 3, 4, 5, 6]),  # single frames that are wrong: the clock goes on
        ([None, None, None], [0, 1, 2]),
        ([0, None, 2], [0, 1, 2]),
        ([3, 3, 3], [0, 1, 2]),
    ],
)
def test_times(raw, right):
    assert times(raw) == right


def test_a_joined_form_has_no_long_steps():
    raw = [0, 1, 2, 3600, 3601, 0, 1]
    assert times(raw, joined=True) == [0, 1, 2, 3, 4, 5, 6]
    tick = Fraction(1, 25)
    assert times([0, tick, 10, 10 + tick], step=tick, joined=True) == [0, tick, 2 * tick, 3 * tick]
    assert times([0, tick, 1, 1 + tick], step=tick, joined=True) == [0, tick, 1, 1 + tick]  # frames that were not sent


def test_the_first_instant_may_be_the_sounds():
    assert times([3, 4], start=Fraction(1)) == [2, 3]
    assert times([3, 4], start=Fraction(9)) == [0, 1]  # not what it says


def test_a_stream_that_comes_back_has_another_clock():
    clock = Clock(Fraction(1, 10))
    assert [clock.time(Fraction(value)) for value in (100, 101)] == [0, 1]
    clock.restart(Fraction(5))
    assert [clock.time(Fraction(value)) for value in (7, 8)] == [6, 7]
    clock.restart(Fraction(0))
    assert clock.time(None) == Fraction(71, 10)
