"""Models of equal cost along different axes, although layers, channels and pixels are whole numbers.

Each axis reaches only certain costs. So the target is not a number but the one of the costs near it that all axes come
closest to. :func:`equal_macs_baseline` scales the base of a search to the multiply-adds of the network that was found.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from backbones.scaling import BackboneSpec, round_filters
from backbones.tables import ALPHA, BETA

Model = TypeVar("Model")


REACH = 0.3
"""Levels are looked for within this share of the target."""
WINDOW = 0.2
"""A common cost may differ from the target by this share."""
MOST_STEPS = 1024
"""An axis that never gets there (coefficients of 1) ends here."""


@dataclass(frozen=True)
class Level(Generic[Model]):
    """A model on an axis."""

    factor: float
    """Along the axis; of several that give this model, the smallest that was tried."""
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
    at = lambda index: build(round(low + index * step, 6))
    least, most = (1 - REACH) * target, (1 + REACH) * target
    # Counting takes a tenth of a second: what is far too small is found by halving, and not counted one by one.
    first, beyond = 0, 1
    while beyond < MOST_STEPS and macs(at(beyond)) < least:
        first, beyond = beyond, 2 * beyond
    while beyond - first > 1:
        middle = (first + beyond) // 2
        first, beyond = (middle, beyond) if macs(at(middle)) < least else (first, middle)
    found: list[Level[Model]] = []
    while not found or (found[-1].macs <= most and first < MOST_STEPS):
        if not found or at(first) != found[-1].model:
            found.append(Level(round(low + first * step, 6), at(first), macs(at(first))))
        first += 1
    return [level for level in found if least <= level.macs <= most] or [found[-1]]


def equal(axes: Mapping[str, Sequence[Level[Model]]], *, target: float) -> dict[str, Level[Model]]:
    """A level of each axis, so that the largest deviation from a common cost is smallest.

    Args:
        target: the cost that is wished for.
    """
    reached = {level.macs for found in axes.values() for level in found}
    middles = {(one + other) / 2 for one, other in itertools.combinations_with_replacement(sorted(reached), 2)}
    costs = [cost for cost in sorted(middles) if abs(cost / target - 1) <= WINDOW]

    def choice(common: float) -> dict[str, Level[Model]]:
        return {name: min(found, key=lambda level: abs(level.macs - common)) for name, found in axes.items()}

    def worst(common: float) -> float:
        return max((abs(level.macs / common - 1) for level in choice(common).values()), default=0.0)

    return choice(min([target, *costs], key=lambda common: (round(worst(common), 3), abs(common - target))))


STEPS = [step / 20 for step in range(-80, 81)]
"""Of compound scaling, in width and depth together; at 0 it is the base."""
APART = (0.0, -0.5, 0.5, -1.0, 1.0)
"""Steps that depth may be ahead: whole layers and rounded widths leave gaps of a tenth in the cost."""


def equal_macs_baseline(
    base: BackboneSpec, macs: Callable[[BackboneSpec], float], *, target: float, divisor: int = 8
) -> BackboneSpec:
    """`base` with the width and depth of compound scaling whose `macs` come nearest to `target`.

    Stem, head and input size stay those of the base, as they do in a search.
    """
    found: dict[BackboneSpec, float] = {}
    pairs = ((step, step + ahead) for step in STEPS for ahead in APART)
    # Of equal costs the nearest to the base is taken.
    for width, depth in sorted(pairs, key=lambda pair: abs(pair[0]) + abs(pair[1])):
        spec = _scaled(base, BETA**width, ALPHA**depth, divisor)
        if spec not in found:
            found[spec] = macs(spec)
    best = min(found, key=lambda spec: abs(found[spec] - target))
    return replace(best, name=f"{base.name}-baseline")


def _scaled(base: BackboneSpec, width: float, depth: float, divisor: int) -> BackboneSpec:
    stages = tuple(
        replace(
            stage,
            channels=stage.channels if width == 1 else round_filters(stage.channels, width, divisor=divisor),
            repeats=max(1, round(stage.repeats * depth)),
        )
        for stage in base.stages
    )
    return replace(base, stages=stages)
