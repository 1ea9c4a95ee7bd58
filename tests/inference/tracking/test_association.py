import itertools

import numpy as np
import pytest

from effdet.inference.tracking.association import assign


def test_assignment_is_the_cheapest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.random((4, 5))
        pairs, lost, unclaimed = assign(costs, 1.0)
        best = min(sum(costs[row, column] for row, column in enumerate(c)) for c in itertools.permutations(range(5), 4))
        assert costs[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(best)
        assert len(lost) == 0 and len(unclaimed) == 1


def test_the_max_images_rules_pairs_out():
    pairs, lost, unclaimed = assign(np.array([[0.2, 0.9], [0.9, 0.8]]), 0.5)
    assert pairs.tolist() == [[0, 0]] and lost.tolist() == [1] and unclaimed.tolist() == [1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_nothing_to_assign(shape):
    pairs, lost, unclaimed = assign(np.zeros(shape), 1.0)
    assert pairs.shape == (0, 2) and len(lost) == shape[0] and len(unclaimed) == shape[1]
