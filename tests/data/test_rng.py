"""Numbers depend only on the keys."""

import pytest

from effdet.data.rng import generator
from heads.structures import UserError


def test_same_keys_same_numbers_whatever_came_before():
    first = generator(3, "augment", 1, 2)
    first.random(100)
    assert generator(3, "augment", 1, 2).integers(2**62) == generator(3, "augment", 1, 2).integers(2**62)


def test_different_keys_differ_even_by_trailing_zeros():
    keys = [(0,), (0, 0), (0, 0, 0), (0, 1), (1, 0), (1,), ("a",), ("b",), ("a", 0), ("a", 0, 0)]
    drawn = {generator(7, *key).integers(2**62).item() for key in keys}
    drawn |= {generator(seed).integers(2**62).item() for seed in (8, 2**32 + 7, 2**63)}
    assert len(drawn) == len(keys) + 3


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed):
    with pytest.raises(UserError, match=f"seed={seed}"):
        generator(seed)
