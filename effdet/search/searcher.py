"""What every search algorithm is: asked for architectures, reported what they were worth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Protocol

import torch

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
        ...

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
