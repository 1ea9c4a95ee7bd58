"""What a candidate is worth: accuracy, weighed against its cost (MnasNet, Tan et al., CVPR 2019, eq. 2 and 3).

``reward = accuracy * (cost / target) ** w`` with ``w = alpha`` up to the target and ``w = beta`` above it.

A candidate that fails, or whose training is not finite, is worth 0: less than any that learns something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FAILED = 0.0


@dataclass(frozen=True)
class Reward:
    """The paper's reward.

    Args:
        target: cost that is asked for, in whatever unit costs have.
        alpha: exponent at or below the target, not above 0.
        beta: exponent above the target, not above 0.
    """

    target: float
    alpha: float = -0.07
    beta: float = -0.07

    def __post_init__(self) -> None:
        problems = []
        if not (math.isfinite(self.target) and self.target > 0):
            problems.append(f"target must be above 0, got {self.target}")
        problems += [
            f"{name} must not be above 0, got {getattr(self, name)}"
            for name in ("alpha", "beta")
            if not getattr(self, name) <= 0
        ]
        if problems:
            raise ValueError("a reward's " + "; ".join(problems))

    def __call__(self, accuracy: float, cost: float) -> float:
        """`accuracy` in [0, 1], `cost` above 0 in the unit of `target`. Not a finite number: worth 0."""
        if not (math.isfinite(accuracy) and math.isfinite(cost)):
            return FAILED
        exponent = self.alpha if cost <= self.target else self.beta
        return accuracy * (cost / self.target) ** exponent


VARIANTS = {"soft": (-0.07, -0.07), "hard": (0.0, -1.0)}
"""Alpha and beta. Soft: doubling the cost must bring 5 % more accuracy (``1.05 * 2**-0.07 = 1``). Hard: cost below the target
counts for nothing, above it the reward falls with its inverse."""


def reward_of(variant: str, target: float) -> Reward:
    """The variant ``soft`` or ``hard`` with a target."""
    alpha, beta = VARIANTS[variant]
    return Reward(target, alpha, beta)
