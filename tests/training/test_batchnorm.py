"""BatchNorm's momentum: the fine-tuning rule by hand, and what it is for."""

import pytest
import torch
from torch import nn

from effdet.training.batchnorm import follow, set_norm_momentum


@pytest.mark.parametrize(("batches", "expected"), [(20, 0.1), (100, 0.1), (200, 0.05), (2000, 0.005), (0, 0.1)])
def test_the_rule_by_hand(batches, expected):
    """max(1 - 10/s, 0.9) kept is min(10/s, 0.1) taken."""
    assert follow(batches) == pytest.approx(expected)


def test_never_slower_than_the_models_own():
    model = nn.Sequential(nn.BatchNorm2d(2, momentum=0.01), nn.BatchNorm2d(2, momentum=0.1))
    assert set_norm_momentum(model, momentum=None, batches=10_000) == 0.01
    assert [layer.momentum for layer in model] == [0.01, 0.1]
    assert set_norm_momentum(model, momentum=None, batches=250) == pytest.approx(0.04)


def test_a_given_momentum_is_taken_as_it_is():
    model = nn.Sequential(nn.BatchNorm2d(2, momentum=0.1))
    assert set_norm_momentum(model, momentum=0.02, batches=5) == 0.02
    assert set_norm_momentum(nn.Sequential(nn.Conv2d(1, 1, 1)), momentum=None, batches=5) is None


def test_a_short_run_ends_with_the_statistics_of_its_data():
    """Fifty batches of mean 5: with the rule the running mean is there, with the paper's momentum it is not half way."""
    torch.manual_seed(0)
    slow, fast = nn.BatchNorm2d(1, momentum=0.01), nn.BatchNorm2d(1, momentum=0.01)
    set_norm_momentum(fast, momentum=None, batches=50)
    for _ in range(50):
        batch = torch.randn(8, 1, 4, 4) + 5
        slow(batch), fast(batch)
    assert slow.running_mean.item() < 2.5 and fast.running_mean.item() == pytest.approx(5, abs=0.2)
