"""The search for phi against costs that are known."""

import pytest

from effdet.search.budget import STEP, fit_phi


def probed(budget: float) -> tuple[float | None, dict[float, float]]:
    """The phi found under cost 2^phi, and what was measured on the way, in that order."""
    probes: dict[float, float] = {}

    def measure(phi: float) -> float:
        assert phi not in probes
        return probes.setdefault(phi, 2.0**phi)

    return fit_phi(measure, budget), probes


@pytest.mark.parametrize("budget", [0.07, 0.5, 1.0, 1.9, 2.0, 30.0])
def test_the_largest_within_the_budget(budget):
    phi, probes = probed(budget)
    assert phi is not None
    assert 2.0**phi <= budget < 2.0 ** (phi + STEP)
    assert probes[phi] == 2.0**phi
    assert len(probes) <= 12


def test_far_larger_models_are_never_measured():
    assert max(probed(1.5)[1]) == 1


def test_below_the_smallest_and_above_the_largest():
    below, probes = probed(2.0**-4.1)
    assert below is None and list(probes)[-1] == -4
    assert probed(2.0**6)[0] == 6
    assert probed(2.0**-4)[0] == -4


def test_noise_never_gives_a_phi_outside_the_budget():
    noise = {index: 1 + 0.3 * ((index * 7919) % 5 - 2) / 2 for index in range(-80, 121)}
    measure = lambda phi: 2.0**phi * noise[round(phi / STEP)]
    for budget in (0.2, 0.9, 1.3, 5.0):
        phi = fit_phi(measure, budget)
        assert phi is not None and measure(phi) <= budget
