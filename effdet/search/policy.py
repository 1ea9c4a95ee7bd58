"""What REINFORCE and PPO share: a controller, its optimiser, a baseline, and their exact state."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from effdet.search.controller import Controller
from effdet.search.space import Tokens


class PolicySearch:
    """A controller that learns from rewards; subclasses say how, in :meth:`learn`.

    Args:
        sizes: number of options at each decision.
        lr: of Adam.
        entropy: weight of the entropy bonus, which keeps the controller from settling too early.
        baseline: share of the old value in the moving average of rewards that advantages are measured from.
        hidden: width of the controller.
    """

    def __init__(
        self, sizes: Sequence[int], *, seed: int, lr: float, entropy: float, baseline: float, hidden: int
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.controller = Controller(sizes, hidden=hidden, generator=self.generator)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=lr)
        self.entropy = entropy
        self.decay = baseline
        self.baseline: float | None = None

    def ask(self, count: int) -> list[Tokens]:
        return [tuple(row) for row in self.controller.sample(count, self.generator).tolist()]

    def tell(self, tokens: Sequence[Tokens], rewards: Sequence[float]) -> None:
        worth = torch.tensor(rewards, dtype=torch.float64)
        mean = float(worth.mean())
        self.baseline = mean if self.baseline is None else self.decay * self.baseline + (1 - self.decay) * mean
        # Divided by their spread: rewards of different candidates differ in the second or third digit.
        spread = float(worth.std(correction=0))
        advantages = (worth - self.baseline) / (spread + 1e-8) if spread > 0 else torch.zeros_like(worth)
        self.learn(torch.tensor(tokens), advantages.clamp(-5, 5).float())

    def learn(self, tokens: Tensor, advantages: Tensor) -> None:
        """One update. `tokens`: (N, T) int64 that the controller drew since its last update; `advantages`: (N,)."""
        raise NotImplementedError

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser, its gradient clipped to length 1."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.controller.parameters(), 1.0)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return copy.deepcopy(
            {
                "controller": self.controller.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "baseline": self.baseline,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.baseline = state["baseline"]
