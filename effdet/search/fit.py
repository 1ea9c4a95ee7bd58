"""The largest phi within a budget, when all that can be done is to measure one phi after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from effdet.scaling.phi import HIGHEST, LOWEST

STEP = 0.05
"""Phi is tried in multiples of this: sizes and layers are whole numbers, so that finer steps give the same network."""


@dataclass(frozen=True)
class Probe:
    """One phi that was measured."""

    phi: float
    value: float
    fits: bool


@dataclass(frozen=True)
class Fit:
    """What was found."""

    phi: float | None
    """The largest that was measured within the budget; None where none was."""
    probes: tuple[Probe, ...]
    """In the order of measuring."""

    @property
    def above_largest(self) -> bool:
        """The budget has room for more than the largest model."""
        return self.phi == HIGHEST

    @property
    def chosen(self) -> Probe | None:
        return next((probe for probe in self.probes if probe.phi == self.phi), None)


def fit_phi(measure: Callable[[float], float], budget: float) -> Fit:
    """Bisect phi in [-4, 6] for the largest whose ``measure(phi)`` is at most `budget`.

    From phi = 0 the search goes up, or down, by whole steps until the budget lies between two of them, and then halves the
    gap: models far above the budget, which would take minutes or all memory, are never measured. `measure` should rise with
    phi; where noise makes it fall, the answer is still a phi that was measured within the budget.
    """
    probes: list[Probe] = []

    def fits(step: int) -> bool:
        phi = round(step * STEP, 6)
        value = measure(phi)
        probes.append(Probe(phi, value, value <= budget))
        return probes[-1].fits

    whole, low, high = round(1 / STEP), round(LOWEST / STEP), round(HIGHEST / STEP)
    inside = outside = 0
    if fits(0):
        outside = whole
        while outside <= high and fits(outside):
            inside, outside = outside, outside + whole
        if outside > high:
            return Fit(HIGHEST, tuple(probes))
    else:
        inside = -whole
        while inside >= low and not fits(inside):
            inside, outside = inside - whole, inside
        if inside < low:
            return Fit(None, tuple(probes))
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if fits(middle):
            inside = middle
        else:
            outside = middle
    return Fit(round(inside * STEP, 6), tuple(probes))
