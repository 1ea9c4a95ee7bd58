"""Settings trained with several seeds: mean, spread, and the interval of the difference of two, paired by seed.

Two settings are compared on the seeds that both were trained with: the differences, one a seed, have a mean whose interval is
Student's with one degree of freedom less than there are seeds. It answers whether another seed would show the same, which the
bootstrap over images (:mod:`~effdet.report.statistics.bootstrap`) does not; with three seeds it is wide.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from effdet.report.statistics.bootstrap import Difference


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
