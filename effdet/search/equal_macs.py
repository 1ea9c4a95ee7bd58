"""Models of equal cost along different axes, although layers, channels and pixels are whole numbers.

Each axis reaches only certain costs. So the target is not a number but the one of the costs near it that all axes come
closest to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Model = TypeVar("Model")


@dataclass(frozen=True)
class Level(Generic[Model]):
    """A model on an axis."""

    factor: float
    """Along the axis: the smallest tried that gives this model."""
    model: Model
    macs: float


def levels(
    build: Callable[[float], Model], macs: Callable[[Model], float], *, target: float, low: float, step: float = 0.02
) -> list[Level[Model]]:
    """The different models of an axis near `target`, by rising factor.

    Args:
        build: the model at a factor along the axis.
        macs: of a model; rises with the factor, but for what whole numbers do.
        low: where the axis begins.
        step: between factors that are tried.
    """
    found: list[Level[Model]] = []
    factor, last = low, None
    while not found or found[-1].macs < 1.3 * target:
        model = build(round(factor, 6))
        if model != last:
            found.append(Level(round(factor, 6), model, macs(model)))
            last = model
        factor += step
    return [level for level in found if 0.6 * target <= level.macs <= 1.3 * target] or [found[-1]]


def equal(
    axes: Mapping[str, Sequence[Level[Model]]], *, target: float, window: float = 0.15
) -> dict[str, Level[Model]]:
    """A level of each axis, so that the largest deviation from a common cost is smallest.

    Args:
        target: the cost that is wished for.
        window: a common cost may differ from `target` by this share.
    """
    reached = {level.macs for found in axes.values() for level in found}
    middles = {(one + other) / 2 for one, other in itertools.combinations_with_replacement(sorted(reached), 2)}
    costs = [cost for cost in sorted(middles) if abs(cost / target - 1) <= window]

    def choice(common: float) -> dict[str, Level[Model]]:
        return {name: min(found, key=lambda level: abs(level.macs - common)) for name, found in axes.items()}

    def worst(common: float) -> float:
        return max(abs(level.macs / common - 1) for level in choice(common).values())

    return choice(min([target, *costs], key=lambda common: (round(worst(common), 3), abs(common - target))))
