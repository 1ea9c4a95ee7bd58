"""The search algorithms by name. A new one is a class with the methods of :class:`Searcher`, and a line in `ALGORITHMS`.

The two that need no network stand here: random search, the baseline that any search has to beat, and regularised evolution
(Real et al., AAAI 2019, algorithm 1), where the oldest dies, not the worst: a population of the latest candidates, a parent
that is the best of a random sample of it, and a child that is its parent with one decision changed.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from effdet.search.policy_gradient import PPO, Reinforce
from effdet.search.space import Tokens


class Searcher(Protocol):
    """A search algorithm over sequences of decisions.

    All its random choices come from one generator that is part of its state, so that a searcher whose state was saved and
    loaded goes on exactly as the one that was not.
    """

    def ask(self, count: int) -> list[Tokens]:
        """The next `count` candidates."""
        ...

    def tell(self, tokens: Sequence[Tokens], rewards: Sequence[float]) -> None:
        """What candidates were worth, higher is better; in the order of asking."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def dump_state(searcher: Searcher) -> bytes:
    """The state as bytes; :func:`load_state` reads them without running code that they might hold."""
    buffer = io.BytesIO()
    torch.save(searcher.state_dict(), buffer)
    return buffer.getvalue()


def load_state(searcher: Searcher, state: bytes) -> None:
    searcher.load_state_dict(torch.load(io.BytesIO(state), map_location="cpu", weights_only=True))


def uniform(sizes: Sequence[int], generator: torch.Generator) -> Tokens:
    """One sequence of decisions, each option as likely as the others."""
    return tuple(int(torch.randint(size, (), generator=generator)) for size in sizes)


class RandomSearch:
    """Draws each decision uniformly.

    Args:
        sizes: number of options at each decision.
    """

    def __init__(self, sizes: Sequence[int], *, seed: int) -> None:
        self.sizes = tuple(sizes)
        self.generator = torch.Generator().manual_seed(seed)

    def ask(self, count: int) -> list[Tokens]:
        return [uniform(self.sizes, self.generator) for _ in range(count)]

    def tell(self, tokens: Sequence[Tokens], rewards: Sequence[float]) -> None:
        """Nothing is learned."""

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])


class RegularisedEvolution:
    """The ageing evolution of AmoebaNet.

    Args:
        sizes: number of options at each decision.
        population: candidates that live at a time; as many of the first are random. (The paper: 100 of 20,000.)
        sample: how many of them compete to be the parent. (The paper: 25.)
    """

    def __init__(self, sizes: Sequence[int], *, seed: int, population: int = 50, sample: int = 10) -> None:
        if not 1 <= sample <= population:
            raise ValueError(f"sample (={sample}) must lie in [1, population (={population})]")
        self.sizes = tuple(sizes)
        self.sample = sample
        self.generator = torch.Generator().manual_seed(seed)
        self.alive: deque[tuple[Tokens, float]] = deque(maxlen=population)
        self.asked = 0

    def ask(self, count: int) -> list[Tokens]:
        children = []
        for _ in range(count):
            first = self.asked < (self.alive.maxlen or 0) or not self.alive
            children.append(uniform(self.sizes, self.generator) if first else self._child())
            self.asked += 1
        return children

    def tell(self, tokens: Sequence[Tokens], rewards: Sequence[float]) -> None:
        self.alive.extend(zip(map(tuple, tokens), map(float, rewards), strict=True))  # beyond its length the oldest go

    def _child(self) -> Tokens:
        draws = torch.randint(len(self.alive), (self.sample,), generator=self.generator).tolist()
        parent, _ = max((self.alive[draw] for draw in draws), key=lambda member: member[1])
        place = int(torch.randint(len(self.sizes), (), generator=self.generator))
        # A step of 1 ... size - 1 around the circle of options: any but the parent's.
        step = 1 + int(torch.randint(max(1, self.sizes[place] - 1), (), generator=self.generator))
        return (*parent[:place], (parent[place] + step) % self.sizes[place], *parent[place + 1 :])

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.generator.get_state(),
            "alive": [[list(tokens), reward] for tokens, reward in self.alive],
            "asked": self.asked,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
        self.alive.clear()
        self.alive.extend((tuple(tokens), reward) for tokens, reward in state["alive"])
        self.asked = state["asked"]


ALGORITHMS: dict[str, Callable[..., Searcher]] = {
    "ppo": PPO,
    "reinforce": Reinforce,
    "evolution": RegularisedEvolution,
    "random": RandomSearch,
}


def make_searcher(algorithm: str, sizes: Sequence[int], *, seed: int, **options: Any) -> Searcher:
    """The searcher called `algorithm`, with its own defaults for what is not given."""
    return ALGORITHMS[algorithm](sizes, seed=seed, **options)
