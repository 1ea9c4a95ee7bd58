"""Optimisers, schedules, freezing, seeds, settings: values worked out by hand."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from torch import nn

from effdet.training.freezing import freeze
from effdet.training.optimizers import build_optimizer, multiplier, parameter_groups, peak_lr
from effdet.training.randomness import seed_all, seed_step, step_seed
from effdet.training.settings import FitSettings, OptimizerSettings
from heads.structures import UserError
from tests.training.fakes import FakeModel

CONF = Path(__file__).parents[2] / "conf"


def test_the_rate_is_proportional_to_the_step() -> None:
    assert peak_lr(OptimizerSettings(lr=0.08, base_batch_size=64), 128) == pytest.approx(0.16)
    assert peak_lr(OptimizerSettings(lr=0.08, base_batch_size=None), 128) == 0.08


def test_norms_biases_and_fusion_weights_are_not_decayed() -> None:
    model = FakeModel()
    model.heads["detection"].register_parameter("weights", nn.Parameter(torch.ones(3)))
    groups = parameter_groups(model, OptimizerSettings(weight_decay=0.5, backbone_lr_scale=0.1), 1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found == {
        "backbone.stem.weight": (0.1, 0.5),
        "backbone.norm.weight": (0.1, 0.0),
        "backbone.norm.bias": (0.1, 0.0),
        "heads.detection.classifier.weight": (1.0, 0.5),
        "heads.detection.classifier.bias": (1.0, 0.0),
        "heads.detection.weights": (1.0, 0.0),
    }


def test_one_step_of_sgd_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(2.0)
    optimizer = build_optimizer(model, OptimizerSettings(lr=0.1, base_batch_size=None, weight_decay=0.5), step_images=1)
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(2.0 - 0.1 * (1.0 + 0.5 * 2.0))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_optimiser_skips_when_it_is_reported_to(name: str) -> None:
    """What the guard relies on where it doesn't wait for the device."""
    model, other = FakeModel(), FakeModel()
    chosen = OptimizerSettings(name, lr=0.1, base_batch_size=None)
    fused = build_optimizer(model, chosen, step_images=1, fused=True)
    plain = build_optimizer(other, chosen, step_images=1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for bad in (True, False, True, False):
        for parameter, twin in zip(model.parameters(), other.parameters(), strict=True):
            parameter.grad = torch.full_like(parameter, float("nan") if bad else 0.5)
            twin.grad = None if bad else torch.full_like(parameter, 0.5)
        fused.found_inf = torch.tensor(float(bad))  # type: ignore[attr-defined]
        fused.step()
        plain.step()
    for parameter, twin, old in zip(model.parameters(), other.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, twin)
        assert not torch.equal(parameter, old)


@pytest.mark.parametrize("name, kind", [("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop)])
def test_other_optimisers(name: str, kind: type) -> None:
    assert isinstance(build_optimizer(FakeModel(), OptimizerSettings(name), step_images=1), kind)


def test_warm_up_and_cosine_by_hand() -> None:
    share = multiplier(OptimizerSettings(warmup_epochs=2, warmup_from=0.2, final=0.1), steps=24, steps_per_epoch=2)
    assert [round(share(step), 6) for step in range(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert share(14) == pytest.approx(0.1 + 0.9 * 0.5)  # half of the way from step 4 to 24, the end of the run
    assert share(9) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert 0.1 < share(23) < 0.11
    assert share(24) == share(30) == pytest.approx(0.1)


def test_other_schedules() -> None:
    constant = multiplier(OptimizerSettings(schedule="constant", warmup_steps=1), steps=None, steps_per_epoch=5)
    assert [constant(step) for step in (0, 1, 1000)] == [0.1, 1.0, 1.0]
    steps = multiplier(
        OptimizerSettings(schedule="step", milestones=(0.5, 0.75), warmup_steps=0), steps=8, steps_per_epoch=8
    )
    assert [round(steps(step), 6) for step in range(8)] == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    with pytest.raises(UserError, match="needs to know when the run ends"):
        multiplier(OptimizerSettings(), steps=None, steps_per_epoch=5)


def test_a_run_of_one_step_learns_at_the_full_rate() -> None:
    assert multiplier(OptimizerSettings(warmup_epochs=1), steps=1, steps_per_epoch=1)(0) == 1.0
    assert multiplier(OptimizerSettings(warmup_epochs=9), steps=10, steps_per_epoch=1)(4) == 1.0


def test_freezing_holds_weights_and_statistics() -> None:
    model = FakeModel()
    assert freeze(model, ["backbone"]) == (model.backbone,)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        "heads.detection.classifier.weight",
        "heads.detection.classifier.bias",
    }
    model = FakeModel()
    assert freeze(model, ["detection"]) == (model.heads["detection"],)
    model = FakeModel()
    assert freeze(model, ["bn", "backbone.stem"]) == (model.backbone.norm, model.backbone.stem)
    assert not model.backbone.norm.weight.requires_grad and not model.backbone.stem.weight.requires_grad
    with pytest.raises(UserError, match=r"freeze='bakbone' is not a part.*backbone, heads, detection"):
        freeze(FakeModel(), ["bakbone"])
    model = FakeModel()
    freeze(model, ["backbone", "heads"])
    with pytest.raises(UserError, match="nothing to train"):
        parameter_groups(model, OptimizerSettings(), 1.0)


def test_seeds_are_a_function_of_seed_step_and_rank() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(10) for step in range(50) for rank in range(4)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**64 for seed in seeds)
    draws = []
    for step in (3, 4, 3):
        seed_step(0, step, 0, torch.device("cpu"))
        draws.append(torch.rand(2))
    assert torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[1])


def test_seed_all_seeds_three_generators() -> None:
    import random

    import numpy as np

    def draw() -> tuple[float, float, float]:
        seed_all(2**33)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draw() == draw()


def test_the_trainer_file_lists_every_argument_of_the_trainer() -> None:
    arguments = yaml.safe_load((CONF / "trainer" / "default.yaml").read_text())
    assert set(arguments) == set(inspect.signature(Trainer.__init__).parameters) - {"self"}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_optimizer_files_are_settings(name: str, tmp_path: Path) -> None:
    config = {"optimizer": yaml.safe_load((CONF / "optimizer" / f"{name}.yaml").read_text())}
    made = FitSettings.of(config, tmp_path).optimizer
    assert made.name == name and isinstance(made.lr, float)
    fields = {field for field in vars(OptimizerSettings()) if field not in ("betas", "momentum", "nesterov", "target")}
    assert fields <= set(config["optimizer"]), "each setting is in the file, so that it needs no `+`"


def test_the_sgd_file_is_the_default() -> None:
    values = yaml.safe_load((CONF / "optimizer" / "sgd.yaml").read_text())
    assert FitSettings.of({"optimizer": values}, ".").optimizer == OptimizerSettings()


@pytest.mark.parametrize(
    "config, text",
    [
        ({"optimizer": {"lrr": 1}}, r"optimizer\.lrr is not a setting"),
        ({"optimizer": {"name": "sdg"}}, r"optimizer\.name=sdg: must be sgd \| adamw \| rmsprop"),
        ({"optimizer": {"lr": 0}}, "optimizer.lr=0: must be float > 0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": "big"}, "batch_size='big'"),
        ({"ema": 1.0}, r"ema\.decay=1\.0"),
        ({"trainer": {"precision": "16-true"}}, r"trainer\.precision=16-true is not supported"),
    ],
)
def test_bad_settings_are_named(config: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        FitSettings.of(config, "run")


def test_overrides_of_a_configuration() -> None:
    made = FitSettings.of({"ema": False, "logger": "wandb", "freeze": "bn", "seed": 3, "data": {}, "task": "x"}, "run")
    assert (made.ema.enabled, made.loggers, made.freeze, made.seed) == (False, ("wandb",), ("bn",), 3)
    assert FitSettings.of({"ema": 0.99, "logger": None}, "run").ema.decay == 0.99
    assert FitSettings.of({"logger": None}, "run").loggers == ()
