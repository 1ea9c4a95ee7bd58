"""Sizes and costs: against the peers' own counts, and the literal table against counting."""

from __future__ import annotations

import pytest
import torch

from effdet.model import build, count_cost, spec_for
from effdet.weights.info import all_models, environment, full_names, model_info
from effdet.weights.tables.costs import COSTS

# Parameters of the models of effdet 0.4.1 and timm 1.0.31, counted in those libraries.
PEER_PARAMETERS = {
    "tf_efficientdet_d0": 3_880_067, "tf_efficientdet_d1": 6_625_898, "tf_efficientdet_d2": 8_097_039,
    "tf_efficientdet_d3": 12_032_296, "tf_efficientdet_d4": 20_723_675, "tf_efficientdet_d5": 33_653_315,
    "tf_efficientdet_d6": 51_871_782, "tf_efficientdet_d7": 51_871_782, "tf_efficientdet_d7x": 77_147_166,
    "tf_efficientdet_d0_ap": 3_880_067, "tf_efficientdet_d1_ap": 6_625_898, "tf_efficientdet_d2_ap": 8_097_039,
    "tf_efficientdet_d3_ap": 12_032_296, "tf_efficientdet_d4_ap": 20_723_675, "tf_efficientdet_d5_ap": 33_653_315,
    "tf_efficientdet_lite0": 3_243_470, "tf_efficientdet_lite1": 4_248_318, "tf_efficientdet_lite2": 5_252_334,
    "tf_efficientdet_lite3": 8_350_862, "tf_efficientdet_lite3x": 9_280_862, "tf_efficientdet_lite4": 15_130_894,
    "efficientdet_d0": 3_877_763, "efficientdet_d1": 6_622_026,
    "efficientdetv2_dt": 13_432_497, "efficientdetv2_ds": 26_580_635,
    "efficientdet_q0": 4_126_234, "efficientdet_q1": 6_976_294, "efficientdet_q2": 8_815_280,
    "tf_efficientnet_b0": 5_288_548, "tf_efficientnet_lite0": 4_652_008, "tf_efficientnetv2_s": 21_458_488,
}  # fmt: skip


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights stay as the memory was: counting them needs no random numbers."""
    for name in ("normal_", "uniform_", "kaiming_uniform_", "xavier_uniform_", "trunc_normal_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **options: tensor)


@pytest.mark.parametrize("name", PEER_PARAMETERS)
def test_parameter_counts_are_the_peers(name: str, undrawn: None) -> None:
    model = build(spec_for(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == PEER_PARAMETERS[name] == COSTS[name][0]


# Of automl's README, in 10^9 multiply-adds; its own counting leaves out resampling and sums.
@pytest.mark.parametrize(("name", "gmacs"), [("tf_efficientdet_d0", 2.54), ("tf_efficientdet_d7", 325.0)])
def test_costs_are_near_the_published(name: str, gmacs: float) -> None:
    assert COSTS[name][1] == pytest.approx(gmacs, rel=0.03)


@pytest.mark.slow  # torch's first use of tensors without data imports for seconds
def test_counting_by_hand_and_by_table() -> None:
    spec = spec_for("tf_efficientnet_lite0")
    cost = count_cost(spec)
    assert (cost.parameters, round(cost.gmacs, 3)) == COSTS[spec.name]
    # Four times the pixels, four times the convolutions; only the last layer stays.
    twice = count_cost(spec, (448, 448))
    last = 1280 * 1000 / 1e9
    assert twice.gmacs - last == pytest.approx(4 * (cost.gmacs - last), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", full_names())
def test_the_table_is_what_counting_gives(name: str) -> None:
    cost = count_cost(spec_for(name))
    assert (cost.parameters, round(cost.gmacs, 3)) == COSTS[name]


def test_every_model_has_a_line() -> None:
    lines = {line.name: line for line in all_models()}
    assert set(lines) == set(COSTS) == set(full_names())
    line = lines["tf_efficientdet_d0"]
    assert (line.task, line.size) == ("detection", (512, 512))
    assert line.result is not None and (line.result.metric, line.result.value) == ("AP", 34.2)
    assert [row.name for row in line.weights] == ["tf_efficientdet_d0"]


@pytest.mark.slow
def test_a_model_of_ones_own_is_counted() -> None:
    line = model_info(spec_for(task="detection", phi=-4, num_classes=3, image_size=128))
    assert line.weights == () and line.result is None and line.cost.parameters > 10_000


def test_the_environment_names_versions() -> None:
    found = environment()
    assert found["torch"] == torch.__version__.partition("+")[0] and {"python", "cpu", "cache", "timm"} <= set(found)
