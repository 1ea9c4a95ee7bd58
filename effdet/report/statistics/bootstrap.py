"""How far a metric would move had other images been drawn: bootstrap intervals over images (Efron 1979).

A sample draws P images out of P with replacement, and the metric is computed on each sample. Images are the unit, since
boxes of one image are not independent. Two models are compared on the *same* samples: what is hard for both cancels out,
and the interval of the difference is narrower than those of the two.

Samples hold fewer different images than the set, so that rare classes have an easier or no truth in them: AP over many
classes comes out too high on them, just as the set's own AP does against that of all images in the world. The interval is
therefore the normal one with its centre moved by that bias (Efron and Tibshirani 1993, section 10.2). The usual interval of
percentiles moves the wrong way: with 80 classes in 206 images it held the true AP in 52 of 100 trials, this one in 82.

Whether another seed of the training would show the same, the images do not say. Two settings are compared on the seeds that
both were trained with: the differences, one a seed, have a mean whose interval is Student's with one degree of freedom less
than there are seeds; with three seeds it is wide.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from heads.structures import UserError


class Statistic(Protocol):
    """Metrics as a function of how often each image counts."""

    @property
    def images(self) -> int:
        """Number P of images."""
        ...

    def __call__(self, weights: np.ndarray) -> Mapping[str, np.ndarray]:
        """(S, P) integers -> by metric (S,) float64, NaN where a sample has nothing to measure it on."""
        ...


@dataclass(frozen=True)
class Interval:
    """A metric with its interval; NaN ends where it is measured on too few images."""

    value: float
    """On the images as they are. Not the middle of the interval where the metric is biased."""
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A metric of two models on the same images."""

    first: float
    second: float
    low: float
    """Of the interval of ``second - first``."""
    high: float
    p: float
    """Two-sided: how often a difference of this size would come about if there were none."""

    @property
    def value(self) -> float:
        return self.second - self.first


def bootstrap(statistic: Statistic, *, samples: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
    """The interval of each metric of `statistic`.

    Args:
        samples: of the images; the interval's ends move by a few percent of its width at 1000.
        level: how often such an interval should hold what it is for.

    Returns:
        By metric; metrics are shares, so intervals end at 0 and 1.
    """
    _check(samples, level)
    values = _one(statistic)
    sampled = statistic(_draw(statistic.images, samples, seed))
    return {name: Interval(values[name], *_ends(values[name], sampled[name], level, 0.0)) for name in values}


def paired_difference(
    first: Statistic, second: Statistic, *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Difference]:
    """How `second` differs from `first`, which must be measured on the same images in the same order.

    Only metrics that both have are compared.
    """
    _check(samples, level)
    if first.images != second.images:
        raise UserError(f"a paired difference needs the same images, got {first.images} and {second.images} of them")
    one, two = _one(first), _one(second)
    weights = _draw(first.images, samples, seed)
    sampled_one, sampled_two = first(weights), second(weights)
    result = {}
    for name in (name for name in one if name in two):
        differences, value = sampled_two[name] - sampled_one[name], two[name] - one[name]
        low, high = _ends(value, differences, level, -1.0)
        result[name] = Difference(one[name], two[name], low, high, _p(value, differences))
    return result


def _draw(images: int, samples: int, seed: int) -> np.ndarray:
    """(S, P) int32: how often each sample holds each image."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=samples).astype(np.int32)


def _one(statistic: Statistic) -> dict[str, float]:
    if statistic.images == 0:
        raise UserError("there are no images to measure on")
    found = statistic(np.ones((1, statistic.images), np.int32))
    return {name: float(values[0]) for name, values in found.items()}


def _ends(value: float, samples: np.ndarray, level: float, least: float) -> tuple[float, float]:
    """Of the bias-corrected normal interval, within [least, 1]."""
    centre, deviation = _spread(value, samples)
    reach = statistics.NormalDist().inv_cdf((1 + level) / 2) * deviation
    low, high = np.clip([centre - reach, centre + reach], least, 1.0)
    return float(low), float(high)


def _p(value: float, samples: np.ndarray) -> float:
    """Of the same normal distribution: below 0.05 exactly where the 95 % interval leaves out 0."""
    centre, deviation = _spread(value, samples)
    if deviation == 0:
        return 1.0 if centre == 0 else 0.0
    return math.nan if math.isnan(deviation) else 2 * statistics.NormalDist().cdf(-abs(centre) / deviation)


def _spread(value: float, samples: np.ndarray) -> tuple[float, float]:
    """`value` freed of bias, and its standard deviation. NaN where a sample had nothing to measure on: what can be absent
    from a sample of a thousand is on less than about seven images, too few to resample."""
    if np.isnan(samples).any():
        return math.nan, math.nan
    return float(2 * value - samples.mean()), float(samples.std())


def _check(samples: int, level: float) -> None:
    if samples < 1:
        raise UserError(f"samples={samples} must be 1 or more")
    if not 0 < level < 1:
        raise UserError(f"level={level} must lie between 0 and 1, both excluded")


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds of one setting."""

    mean: float
    deviation: float
    """Standard deviation of a single run (n - 1); NaN with one seed."""
    seeds: int


def spread(values: Sequence[float]) -> Spread:
    """Of one value a seed, at least one."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, len(values))


def paired_by_seed(
    first: Mapping[str | None, float], second: Mapping[str | None, float], *, level: float = 0.95
) -> Difference | None:
    """How `second` differs from `first`, both ``{seed: value}``, on the seeds of both; None with fewer than two.

    The values of the result are the means over these seeds.
    """
    seeds = [seed for seed in first if seed in second]
    if len(seeds) < 2:
        return None
    differences = [second[seed] - first[seed] for seed in seeds]
    middle, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(seeds))
    freedom = len(seeds) - 1
    reach = student_quantile((1 + level) / 2, freedom) * error
    if error == 0:
        p = 1.0 if middle == 0 else 0.0
    else:
        p = 2 * (1 - student_cdf(abs(middle) / error, freedom))
    one, two = (statistics.fmean(values[seed] for seed in seeds) for values in (first, second))
    return Difference(one, two, middle - reach, middle + reach, p)


def student_cdf(t: float, freedom: int) -> float:
    """P(T <= t) of Student's distribution with a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3-4)."""
    angle = math.atan(t / math.sqrt(freedom))
    term = math.cos(angle) if freedom % 2 else 1.0
    total = term if freedom > 1 or freedom % 2 == 0 else 0.0
    for step in range(2 + freedom % 2, freedom - 1, 2):
        term *= (step - 1) / step * math.cos(angle) ** 2
        total += term
    inside = math.sin(angle) * total if freedom % 2 == 0 else 2 / math.pi * (angle + math.sin(angle) * total)
    return (1 + inside) / 2


def student_quantile(share: float, freedom: int) -> float:
    """The t with ``student_cdf(t, freedom) == share``, for `share` of at least a half."""
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < share:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2
