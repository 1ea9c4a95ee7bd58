"""Order and repetition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from effdet.data import Record, RecordTable, repeat_factors
from effdet.data.sampling import EpochSampler, chosen_repeats, epoch_order
from heads.structures import UserError


def table(labels: list[list[int]], crowd: bool = False) -> RecordTable:
    return RecordTable.of(
        Record(
            Path(f"{index}"), index, f"{index}", 10, 10, np.tile(np.array([[0, 0, 5, 5]], np.float32), (len(row), 1)),
            np.array(row, np.int64), np.full(len(row), crowd), np.full(len(row), 25.0), np.arange(len(row)),
        )
        for index, row in enumerate(labels)
    )  # fmt: skip


def test_repeat_factors_by_hand():
    # 16 images; class 0 in all, class 1 in one: f = 1/16, factor sqrt(0.25 · 16) = 2.
    factors = repeat_factors(table([[0, 0]] * 15 + [[0, 1, 1]]), threshold=0.25)
    assert factors.tolist() == [1] * 15 + [2]
    assert repeat_factors(table([[]] * 3), threshold=0.5).tolist() == [1, 1, 1]
    assert repeat_factors(table([[0], [], [], []], crowd=True), threshold=1).tolist() == [1] * 4
    with pytest.raises(UserError, match="threshold 0"):
        repeat_factors(table([[0]]), threshold=0)


def test_order_is_a_permutation_of_seed_and_epoch():
    first = epoch_order(50, seed=1, epoch=2)
    assert sorted(first[:, 0].tolist()) == list(range(50))
    assert (first[:, 1] == 0).all()
    assert (epoch_order(50, seed=1, epoch=2) == first).all()
    assert (epoch_order(50, seed=1, epoch=3) != first).any()
    assert (epoch_order(50, seed=2, epoch=2) != first).any()


def test_repetition_is_right_on_average_and_its_length_fixed():
    factors = np.array([1, 1.3, 2.5, 1, 3.0, 1.2])
    counts = np.zeros(6)
    for epoch in range(400):
        order = epoch_order(6, seed=0, epoch=epoch, factors=factors)
        assert len(order) == 10
        assert len(np.unique(order, axis=0)) == 10  # each copy is a sample of its own
        found = np.bincount(order[:, 0], minlength=6)
        assert (found >= np.floor(factors)).all()
        assert (found <= np.ceil(factors)).all()
        counts += found
    np.testing.assert_allclose(counts / 400, factors, atol=0.08)


def test_ranks_share_the_batches_of_one_process():
    one = list(EpochSampler(23, 8, seed=3))
    ranks = [list(EpochSampler(23, 4, seed=3, rank=rank, world=2)) for rank in (0, 1)]
    assert len(one) == len(ranks[0]) == len(ranks[1]) == 2
    assert one == [first + second for first, second in zip(*ranks, strict=True)]


def test_start_batch_continues_the_epoch():
    sampler = EpochSampler(20, 4, seed=0)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.set_epoch(2, 3)
    assert len(sampler) == 2
    assert list(sampler) == whole[3:]
    sampler.set_epoch(2, 5)
    assert list(sampler) == []
    with pytest.raises(UserError, match="start_batch=6"):
        sampler.set_epoch(2, 6)


@pytest.mark.parametrize(
    ("count", "size", "world", "expected"), [(5, 8, 1, (5, 1)), (5, 4, 2, (2, 1)), (8, 4, 1, (4, 2)), (1, 1, 1, (1, 1))]
)
def test_sets_smaller_than_a_step(count, size, world, expected):
    sampler = EpochSampler(count, size, world=world)
    assert (sampler.batch_size, len(sampler)) == expected
    assert all(len(batch) == expected[0] for batch in sampler)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"rank": 2, "world": 2}, "rank=2"),
        ({"world": 9}, "5 train images are too few"),
    ],
)
def test_wrong_use(values, message):
    with pytest.raises(UserError, match=message):
        EpochSampler(5, **{"batch_size": 1, **values})


NAMES = ("a", "b", "c", "d")


def test_auto_repeats_what_is_much_rarer_than_the_mean():
    """100 images with a, 80 with b, 5 with c and 3 with d: the mean share is .47, a third of it .1567."""
    rows = [[0, 1] for _ in range(80)] + [[0] for _ in range(12)] + [[0, 2]] * 5 + [[0, 3]] * 3
    found = chosen_repeats(table(rows), NAMES, "auto")
    assert found.factors is not None
    assert found.factors[:92].tolist() == [1] * 92
    np.testing.assert_allclose(found.factors[92:97], np.sqrt(0.47 / 3 / 0.05))
    np.testing.assert_allclose(found.factors[97:], np.sqrt(0.47 / 3 / 0.03))
    assert found.line == (
        "data.repeat_threshold=auto: 0.1567, a third of the mean share of images of a class; below it are c 5 of 100 images. "
        "Those of c come 1.77 times as often; an epoch shows 108 images"
    )


def test_auto_leaves_even_sets_and_tiny_classes_as_they_are():
    even = chosen_repeats(table([[0], [1], [2], [3]] * 5), NAMES, "auto")
    assert even.factors is None and "off: no class of 5 images and more is on fewer than 8.3%" in even.line
    tiny = chosen_repeats(table([[0]] * 100 + [[1]] * 4), NAMES, "auto")
    assert tiny.factors is None and "the rarest, b, is on 4 of 104" in tiny.line
    nothing = chosen_repeats(table([[]] * 3), NAMES, "auto")
    assert nothing.factors is None and nothing.line.endswith("train has no boxes")
    crowds = chosen_repeats(table([[0]] * 3, crowd=True), NAMES, "auto")
    assert crowds.factors is None


def test_a_number_or_none_is_taken_as_it_is():
    rows = table([[0, 0]] * 15 + [[0, 1, 1]])
    found = chosen_repeats(rows, NAMES, 0.25)
    assert found.line == "" and np.array_equal(found.factors, repeat_factors(rows, threshold=0.25))
    assert chosen_repeats(rows, NAMES, None).factors is None
