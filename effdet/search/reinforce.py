"""REINFORCE (Williams, 1992) on the controller, as in the first architecture search (Zoph and Le, ICLR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from effdet.search.policy import PolicySearch


class Reinforce(PolicySearch):
    """One step up ``E[advantage * log p(architecture)]`` for each batch. Arguments as in :class:`PolicySearch`."""

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        seed: int,
        lr: float = 0.01,
        entropy: float = 0.03,
        baseline: float = 0.8,
        hidden: int = 64,
    ) -> None:
        super().__init__(sizes, seed=seed, lr=lr, entropy=entropy, baseline=baseline, hidden=hidden)

    def learn(self, tokens: Tensor, advantages: Tensor) -> None:
        log_probs, entropy = self.controller.score(tokens)  # (N, T) each
        gain = (advantages.unsqueeze(1) * log_probs).mean()
        self.descend(-gain - self.entropy * entropy.mean())
