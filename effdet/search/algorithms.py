"""The search algorithms by name. A new one is a class with the methods of :class:`Searcher`, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from effdet.search.evolution import RegularisedEvolution
from effdet.search.ppo import PPO
from effdet.search.random_search import RandomSearch
from effdet.search.reinforce import Reinforce
from effdet.search.searcher import Searcher

ALGORITHMS: dict[str, Callable[..., Searcher]] = {
    "ppo": PPO,
    "reinforce": Reinforce,
    "evolution": RegularisedEvolution,
    "random": RandomSearch,
}


def make_searcher(algorithm: str, sizes: Sequence[int], *, seed: int, **options: Any) -> Searcher:
    """The searcher called `algorithm`, with its own defaults for what is not given."""
    return ALGORITHMS[algorithm](sizes, seed=seed, **options)
