"""Times of frames, worked out by hand; lost frames are found by the times of packets that no frame came of."""

from fractions import Fraction

import pytest

from effdet.inference.sources.packets import Clock, Gaps, Ledger


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


def sent(*times, **options):
    ledger = Ledger(**options)
    for time in times:
        ledger.sent(time)
    return ledger


def test_an_error_reported_late_belongs_to_the_packet_that_was_passed():
    ledger = sent(0, 1, 2, 3)
    assert ledger.shown(0) == (0, [])
    ledger.failed("broken")  # a decoder of several threads is three packets ahead
    assert ledger.shown(1) == (1, [])
    assert ledger.shown(3) == (3, [(2, "broken")])
    assert ledger.left() == []


def test_frames_are_shown_in_another_order_than_they_are_stored_in():
    ledger = sent(0, 4, 2, 1, 3)
    ledger.failed("broken")
    assert [ledger.shown(time) for time in (0, 1, 3, 4)] == [(0, []), (1, []), (3, [(2, "broken")]), (4, [])]


def test_packets_without_a_frame_are_no_faults():
    ledger = sent(0, 1, 2)  # 1 is a frame that is only referred to
    assert ledger.shown(0) == (0, []) and ledger.shown(2) == (2, [])


def test_a_form_without_times_counts():
    ledger = sent(0, 1, 2, 3, ordered=True)
    assert ledger.shown(7) == (0, [])
    ledger.failed("broken")
    assert ledger.shown(5) == (2, [(1, "broken")])
    assert ledger.shown(None) == (3, [])


def test_the_end():
    ledger = sent(0, 1)
    ledger.failed("broken")
    assert ledger.shown(0) == (0, [])
    assert ledger.left() == [(1, "broken")]
    ledger = sent()
    ledger.failed("broken")
    assert ledger.shown(None) == (None, [(None, "broken")])
    ledger.failed("broken")
    ledger.clear_failures()
    assert ledger.left() == []


def gaps(times, known=()):
    found = Gaps(5)
    for index, time in enumerate(times):
        found.frame(index, Fraction(time), known=index in known)
    return found.found()


def test_gaps_in_a_constant_rate():
    steady = [Fraction(n, 25) for n in range(40)]
    assert gaps(steady) == []
    assert gaps(steady[:20] + steady[30:]) == [(20, Fraction(30, 25), Fraction(11, 25))]
    assert gaps(steady[:20] + steady[30:], known={20}) == []  # lost frames that were named already
    assert gaps(steady[:3] + steady[30:33]) == []  # too few to say


@pytest.mark.parametrize("odd", [(0, 1, 2, 5, 6, 9), (0, 1, 3, 4, 6, 7), tuple(n * n for n in range(20))])
def test_a_variable_rate_has_no_gaps(odd):
    assert gaps([Fraction(block * 1000 + n, 25) for block in range(10) for n in odd]) == []


def test_rates_that_no_tick_divides_are_constant():
    assert gaps([Fraction(round(n * 1001 / 24), 1000) for n in range(200)]) == []
