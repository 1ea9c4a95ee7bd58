"""The searchers: their arithmetic by hand, that they learn, and that a saved one goes on as if it had not stopped."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.simulated import simulate
from effdet.search.algorithms import ALGORITHMS, RegularisedEvolution, dump_state, load_state, make_searcher
from effdet.search.policy_gradient import Controller, clipped_surrogate

SIZES = (3, 2, 4, 2)
BEST = (2, 0, 3, 1)


def agreement(tokens: tuple[int, ...]) -> float:
    """Share of the decisions that are right: a bandit for each of them."""
    return sum(map(int.__eq__, tokens, BEST)) / len(BEST)


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_controllers_find_the_best_of_a_bandit(algorithm, monkeypatch):
    monkeypatch.setattr(ALGORITHMS[algorithm], "lr", 0.03)
    monkeypatch.setattr(ALGORITHMS[algorithm], "hidden", 16)
    searcher = make_searcher(algorithm, SIZES, seed=0)
    rewards = simulate(searcher, agreement, trials=600, batch=20)
    assert rewards[:60].mean() < 0.6
    assert rewards[-60:].mean() > 0.9


def test_evolution_finds_it_and_random_search_does_not_learn():
    evolved = simulate(
        make_searcher("evolution", SIZES, seed=0, population=20, sample=5), agreement, trials=300, batch=5
    )
    drawn = simulate(make_searcher("random", SIZES, seed=0), agreement, trials=300, batch=5)
    assert evolved[-60:].mean() > drawn[-60:].mean() + 0.1  # a child differs from its parent, also from the best
    assert evolved.max() == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_saved_searcher_goes_on_to_the_bit(algorithm):
    options = {"population": 8, "sample": 3} if algorithm == "evolution" else {}

    def walk(stops: bool) -> list[tuple[int, ...]]:
        searcher, seen = make_searcher(algorithm, SIZES, seed=3, **options), []
        for _ in range(5):
            tokens = searcher.ask(6)
            if stops:
                state = dump_state(searcher)
                searcher = make_searcher(algorithm, SIZES, seed=99, **options)
                load_state(searcher, state)
            searcher.tell(tokens, [agreement(each) for each in tokens])
            seen += tokens
        return seen

    assert walk(stops=True) == walk(stops=False)


def test_a_saved_controller_has_the_same_weights_to_the_bit():
    first = make_searcher("ppo", SIZES, seed=0)
    tokens = first.ask(8)
    second = make_searcher("ppo", SIZES, seed=1)
    load_state(second, dump_state(first))
    for searcher in (first, second):
        searcher.tell(tokens, [agreement(each) for each in tokens])
    for mine, other in zip(first.controller.parameters(), second.controller.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_equal_rewards_and_one_candidate_teach_nothing_and_break_nothing(algorithm, monkeypatch):
    monkeypatch.setattr(ALGORITHMS[algorithm], "entropy", 0.0)
    searcher = make_searcher(algorithm, SIZES, seed=0)
    before = [parameter.clone() for parameter in searcher.controller.parameters()]
    for count in (4, 1):
        searcher.tell(searcher.ask(count), [0.0] * count)
    for old, new in zip(before, searcher.controller.parameters(), strict=True):
        assert torch.equal(old, new)


def test_controller_starts_uniform_and_scores_what_it_samples():
    controller = Controller(SIZES, hidden=8, generator=torch.Generator().manual_seed(0))
    tokens = controller.sample(2000, torch.Generator().manual_seed(1))
    for place, size in enumerate(SIZES):
        shares = tokens[:, place].bincount(minlength=size) / 2000
        assert len(shares) == size and (shares - 1 / size).abs().max() < 0.05
    log_probs, entropy = controller.score(tokens[:1])
    expected = torch.tensor([math.log(size) for size in SIZES])
    torch.testing.assert_close(entropy[0], expected)
    torch.testing.assert_close(log_probs[0], -expected)


def test_sampling_follows_the_scored_probabilities():
    generator = torch.Generator().manual_seed(0)
    controller = Controller((2, 3), hidden=8, generator=generator)
    with torch.no_grad():
        controller.weight.normal_(std=3, generator=generator)
    tokens = controller.sample(20000, generator)
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    expected = controller.score(pairs)[0].sum(1).exp()
    drawn = (tokens[:, 0] * 3 + tokens[:, 1]).bincount(minlength=6) / len(tokens)
    assert expected.sum().item() == pytest.approx(1, abs=1e-5)
    assert (drawn - expected).abs().max() < 0.02


def test_clipped_surrogate_by_hand():
    log_ratio = torch.tensor([[1.5, 0.5, 1.0]]).log()
    zero = torch.zeros(1, 3)
    up = clipped_surrogate(log_ratio, zero, torch.tensor([2.0]), 0.2)
    down = clipped_surrogate(log_ratio, zero, torch.tensor([-2.0]), 0.2)
    torch.testing.assert_close(up, torch.tensor([[2.4, 1.0, 2.0]]))  # 1.5 is clipped to 1.2
    torch.testing.assert_close(down, torch.tensor([[-3.0, -1.6, -2.0]]))  # 0.5 is clipped to 0.8


def test_evolution_lets_the_oldest_die_and_changes_one_decision():
    searcher = RegularisedEvolution(SIZES, seed=0, population=3, sample=3)
    first = searcher.ask(3)
    searcher.tell(first, [9.0, 1.0, 2.0])
    child = searcher.ask(1)[0]
    parents = [sum(map(int.__ne__, child, parent)) for parent, _ in searcher.alive]
    assert 1 in parents
    searcher.tell([child], [0.0])
    assert [reward for _, reward in searcher.alive] == [1.0, 2.0, 0.0]  # the best was the oldest


def test_random_search_is_uniform():
    drawn = torch.tensor(make_searcher("random", SIZES, seed=0).ask(1500))
    for place, size in enumerate(SIZES):
        assert (drawn[:, place].bincount(minlength=size) / 1500 - 1 / size).abs().max() < 0.05
