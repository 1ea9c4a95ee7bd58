"""Compound scaling's coefficients (EfficientNet, arXiv 1905.11946, section 3.3).

    depth = alpha^phi     width = beta^phi     resolution = gamma^phi     with alpha * beta^2 * gamma^2 ≈ 2

so that each step of phi about doubles the multiply-adds: they grow with depth, and with the square of width and resolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from heads.structures import UserError

TARGET = 2.0
"""Of alpha * beta^2 * gamma^2."""


@dataclass(frozen=True)
class Factors:
    """How much deeper, wider and larger than the base."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    @property
    def macs(self) -> float:
        """Multiply-adds in units of the base's, if layers, channels and pixels were not whole numbers."""
        return self.depth * self.width**2 * self.resolution**2


@dataclass(frozen=True)
class Coefficients:
    """The factors of one step of phi."""

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            if not (value := getattr(self, name)) >= 1:
                raise UserError(f"{name}={value:g}: must be at least 1; scaling up makes nothing smaller")

    @property
    def product(self) -> float:
        """alpha * beta^2 * gamma^2."""
        return self.at(1).macs

    def at(self, phi: float) -> Factors:
        """The factors of `phi` steps; a negative number makes the base smaller."""
        return Factors(self.alpha**phi, self.beta**phi, self.gamma**phi)

    @property
    def label(self) -> str:
        return f"a{self.alpha:g}-b{self.beta:g}-g{self.gamma:g}"


PAPER = Coefficients(1.2, 1.1, 1.15)
"""What the paper's own search found for B0 on ImageNet."""


def candidates(
    alphas: Sequence[float], betas: Sequence[float], gammas: Sequence[float], *, tolerance: float
) -> tuple[Coefficients, ...]:
    """The points of the grid whose product is within `tolerance` (a share of 2) of 2, in the grid's order.

    Raises:
        UserError: there is none.
    """
    grid = [Coefficients(*point) for point in itertools.product(alphas, betas, gammas)]
    found = tuple(point for point in grid if math.isclose(point.product, TARGET, rel_tol=0, abs_tol=tolerance * TARGET))
    if not found:
        raise UserError(
            f"no point of the grid has alpha · beta² · gamma² within {tolerance:.0%} of 2; "
            "add values to candidates.alpha, candidates.beta or candidates.gamma, or raise candidates.tolerance"
        )
    return found


def axis(kind: str, factor: float) -> Factors:
    """Scaling along one axis alone.

    Args:
        kind: ``depth``, ``width`` or ``resolution``.
        factor: along it.
    """
    return Factors(**{kind: factor})
