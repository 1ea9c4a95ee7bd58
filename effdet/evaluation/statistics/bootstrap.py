"""How far a metric would move had other pictures been drawn: bootstrap intervals over pictures (Efron 1979).

A sample draws P pictures out of P with replacement; the metric is computed on each sample, and the interval is that of the
percentiles. Pictures are the unit, since boxes of one picture are not independent. Two models are compared on the *same*
samples: what is hard for both cancels out, and the interval of the difference is narrower than those of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from heads.structures import UserError


class Statistic(Protocol):
    """Metrics as a function of how often each picture counts."""

    @property
    def pictures(self) -> int:
        """Number P of pictures."""
        ...

    def __call__(self, weights: np.ndarray) -> Mapping[str, np.ndarray]:
        """(S, P) integers -> by metric (S,) float64, NaN where a sample has nothing to measure it on."""
        ...


@dataclass(frozen=True)
class Interval:
    """A metric with its interval."""

    value: float
    """On the pictures as they are."""
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference:
    """A metric of two models on the same pictures."""

    first: float
    second: float
    low: float
    """Of the interval of ``second - first``."""
    high: float
    share: float
    """Two-sided share of samples in which the difference has the other sign or none: small where it is no accident.
    Read as one reads a p-value."""

    @property
    def value(self) -> float:
        return self.second - self.first


def bootstrap(statistic: Statistic, *, samples: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
    """The interval of each metric of `statistic`.

    Args:
        statistic: metrics as a function of weights.
        samples: of the pictures; the interval's ends move by a few percent of its width at 1000.
        seed: same seed, same samples.
        level: share of samples inside the interval.
    """
    _check(samples, level)
    values = _one(statistic)
    sampled = statistic(_draw(statistic.pictures, samples, seed))
    return {name: Interval(values[name], *_ends(sampled[name], level)) for name in values}


def paired_difference(
    first: Statistic, second: Statistic, *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Difference]:
    """How `second` differs from `first`, which must be measured on the same pictures in the same order.

    Only metrics that both have are compared.
    """
    _check(samples, level)
    if first.pictures != second.pictures:
        raise UserError(
            f"a paired difference needs the same pictures, got {first.pictures} and {second.pictures} of them"
        )
    one, two = _one(first), _one(second)
    weights = _draw(first.pictures, samples, seed)
    sampled_one, sampled_two = first(weights), second(weights)
    result = {}
    for name in (name for name in one if name in two):
        differences = sampled_two[name] - sampled_one[name]
        measured = differences[~np.isnan(differences)]
        share = float("nan")
        if measured.size:
            share = min(1.0, 2 * (1 + min((measured <= 0).sum(), (measured >= 0).sum())) / (1 + measured.size))
        result[name] = Difference(one[name], two[name], *_ends(differences, level), share=float(share))
    return result


def _draw(pictures: int, samples: int, seed: int) -> np.ndarray:
    """(S, P) int32: how often each sample holds each picture."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=samples).astype(np.int32)


def _one(statistic: Statistic) -> dict[str, float]:
    if statistic.pictures == 0:
        raise UserError("there are no pictures to measure on")
    found = statistic(np.ones((1, statistic.pictures), np.int32))
    return {name: float(values[0]) for name, values in found.items()}


def _ends(values: np.ndarray, level: float) -> tuple[float, float]:
    measured = values[~np.isnan(values)]
    if not measured.size:
        return float("nan"), float("nan")
    low, high = np.quantile(measured, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(samples: int, level: float) -> None:
    if samples < 1:
        raise UserError(f"samples={samples} must be 1 or more")
    if not 0 < level < 1:
        raise UserError(f"level={level} must lie between 0 and 1, both excluded")
