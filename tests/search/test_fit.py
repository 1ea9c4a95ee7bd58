"""The search for phi against costs that are known."""

import pytest

from effdet.search.budget import STEP, fit_phi


@pytest.mark.parametrize("budget", [0.07, 0.5, 1.0, 1.9, 2.0, 30.0])
def test_the_largest_within_the_budget(budget):
    fit = fit_phi(lambda phi: 2.0**phi, budget)
    assert fit.phi is not None
    assert 2.0**fit.phi <= budget < 2.0 ** (fit.phi + STEP)
    assert fit.chosen.fits and fit.chosen.value == 2.0**fit.phi
    assert len(fit.probes) <= 12 and len({probe.phi for probe in fit.probes}) == len(fit.probes)


def test_far_larger_models_are_never_measured():
    fit = fit_phi(lambda phi: 2.0**phi, 1.5)
    assert max(probe.phi for probe in fit.probes) == 1


def test_below_the_smallest_and_above_the_largest():
    below = fit_phi(lambda phi: 2.0**phi, 2.0**-4.1)
    assert below.phi is None and below.chosen is None and below.probes[-1].phi == -4
    above = fit_phi(lambda phi: 2.0**phi, 2.0**6)
    assert above.phi == 6 and above.above_largest
    assert fit_phi(lambda phi: 2.0**phi, 2.0**-4).phi == -4


def test_noise_never_gives_a_phi_outside_the_budget():
    noise = {index: 1 + 0.3 * ((index * 7919) % 5 - 2) / 2 for index in range(-80, 121)}
    measure = lambda phi: 2.0**phi * noise[round(phi / STEP)]
    for budget in (0.2, 0.9, 1.3, 5.0):
        fit = fit_phi(measure, budget)
        assert fit.phi is not None and measure(fit.phi) <= budget
