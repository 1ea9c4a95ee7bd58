"""The mean of the loss terms since they were last read, kept on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class LossMeter:
    """Adds up loss terms without waiting for the device; reading is the one moment that does."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.count = 0
        self._sums: Tensor | None = None

    def add(self, terms: Mapping[str, Tensor], loss: Tensor) -> None:
        """One micro-batch: scalar terms, and their sum."""
        values = torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
        if self._sums is None:
            self.names, self._sums = ("loss", *terms), values
        else:
            self._sums += values.to(self._sums.device)
        self.count += 1

    def read(self) -> dict[str, float]:
        """Means since the last reading: ``loss`` and each term. Empty where nothing was added."""
        if self._sums is None:
            return {}
        means = (self._sums / self.count).tolist()
        self._sums, self.count = None, 0
        return dict(zip(self.names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "count": self.count, "sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.names, self.count, self._sums = tuple(state["names"]), state["count"], state["sums"]
