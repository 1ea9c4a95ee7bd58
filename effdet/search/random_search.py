"""Random search: every candidate is drawn anew. The baseline that any search has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from effdet.search.searcher import uniform
from effdet.search.space import Tokens


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
