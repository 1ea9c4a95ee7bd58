"""Proximal policy optimisation (Schulman et al., 2017) on the controller, as MnasNet searches (§4.2).

A batch of candidates costs hours of training, so more is learned from it than one step: several epochs over the batch,
each decision's probability ratio clipped so that the policy stays near the one that drew it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from effdet.search.policy import PolicySearch


class PPO(PolicySearch):
    """The clipped surrogate (eq. 7).

    Args:
        clip: how far a probability ratio may leave 1 and still be rewarded for it.
        epochs: passes over each batch.

    The others as in :class:`PolicySearch`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        seed: int,
        lr: float = 0.003,
        entropy: float = 0.03,
        baseline: float = 0.8,
        hidden: int = 64,
        clip: float = 0.2,
        epochs: int = 4,
    ) -> None:
        super().__init__(sizes, seed=seed, lr=lr, entropy=entropy, baseline=baseline, hidden=hidden)
        self.clip = clip
        self.epochs = epochs

    def learn(self, tokens: Tensor, advantages: Tensor) -> None:
        with torch.no_grad():
            old, _ = self.controller.score(tokens)
        for _ in range(self.epochs):
            log_probs, entropy = self.controller.score(tokens)
            gain = clipped_surrogate(log_probs, old, advantages, self.clip).mean()
            self.descend(-gain - self.entropy * entropy.mean())


def clipped_surrogate(log_probs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """``min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)`` for each decision.

    Args:
        log_probs: (N, T) of the decisions under the policy now.
        old: (N, T) under the policy that drew them.
        advantages: (N,) one for all decisions of an architecture.

    Returns:
        (N, T).
    """
    ratio = (log_probs - old).exp()
    advantages = advantages.unsqueeze(1)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
