"""The grid's candidates, by hand."""

import pytest

from effdet.search.coefficients import PAPER, Coefficients, Factors, axis, candidates
from heads.structures import UserError


def test_the_papers_product():
    assert PAPER.product == pytest.approx(1.2 * 1.21 * 1.3225)  # 1.920…
    assert 1.920 < PAPER.product < 1.921


def test_the_default_grids_six_candidates():
    # 1.1² · 1.3² = 2.0449, 1.2² · 1.15² = 1.9044, 1.2 · 1.3² = 2.028, the paper's, 1.4 · 1.15² = 1.8515, 1.4 · 1.2² = 2.016
    found = candidates([1.0, 1.2, 1.4], [1.0, 1.1, 1.2], [1.0, 1.15, 1.3], tolerance=0.1)
    assert [(c.alpha, c.beta, c.gamma) for c in found] == [
        (1.0, 1.1, 1.3), (1.0, 1.2, 1.15), (1.2, 1.0, 1.3), (1.2, 1.1, 1.15), (1.4, 1.0, 1.15), (1.4, 1.2, 1.0)
    ]  # fmt: skip
    assert PAPER in found
    assert [c.product for c in found] == pytest.approx([2.0449, 1.9044, 2.028, 1.92027, 1.8515, 2.016])


def test_the_tolerance_is_a_share_of_two():
    assert candidates([1.2], [1.1], [1.15], tolerance=0.04) == (PAPER,)
    with pytest.raises(UserError, match="no point of the grid"):
        candidates([1.2], [1.1], [1.15], tolerance=0.03)


def test_steps_of_phi():
    assert PAPER.at(0) == Factors()
    assert PAPER.at(2) == Factors(1.2**2, 1.1**2, 1.15**2)
    assert PAPER.at(2).macs == pytest.approx(PAPER.product**2)
    assert PAPER.at(-1).width == pytest.approx(1 / 1.1)


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
def test_coefficients_enlarge(name):
    with pytest.raises(UserError, match=f"{name}=0.9: must be at least 1"):
        Coefficients(**{"alpha": 1.0, "beta": 1.0, "gamma": 1.0, name: 0.9})


def test_one_axis_alone():
    assert axis("depth", 2) == Factors(depth=2) and axis("depth", 2).macs == 2
    assert axis("width", 2).macs == axis("resolution", 2).macs == 4
