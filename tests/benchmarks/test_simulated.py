"""The landscape is fixed, its cost is real, and its pairs interact."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated import TARGET, Landscape, classifier_macs, simulation


def test_landscape_against_an_independent_formula():
    sizes = (2, 3, 2)
    landscape = Landscape(sizes, seed=5, hidden=4)
    rng = np.random.default_rng(5)
    single = rng.standard_normal((7, 4)) / np.sqrt(6)
    pair = rng.standard_normal((49, 4)) / np.sqrt(6)
    out = rng.standard_normal(4) / np.sqrt(2)
    one_hot = np.zeros(7)
    one_hot[[1, 2 + 2, 5 + 0]] = 1  # decisions 1, 2, 0
    x = np.triu(np.outer(one_hot, one_hot), 1).reshape(-1)  # products of different decisions, each pair once
    hidden = np.maximum(one_hot @ single + x @ pair, 0)
    assert landscape((1, 2, 0)) == pytest.approx(1 / (1 + np.exp(-hidden @ out)))


def test_reward_has_the_true_macs_term():
    simulated = simulation(seed=0)
    tokens = simulated.space.encode(simulated.space.base)
    macs = classifier_macs(simulated.space.base, 224, 1000)
    assert simulated.cost(tokens) == macs
    assert simulated(tokens) == pytest.approx(simulated.landscape(tokens) * (macs / TARGET) ** -0.07)


def test_a_seed_is_a_landscape():
    tokens = simulation(seed=0).space.encode(simulation(seed=0).space.base)
    assert simulation(seed=0)(tokens) == simulation(seed=0)(tokens) != simulation(seed=1)(tokens)
