"""Settings that would train something else than was meant are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from effdet.training.optimizers import build_optimizer, multiplier
from effdet.training.randomness import seed_all, seed_step
from effdet.training.settings import FitSettings, OptimizerSettings
from heads.structures import UserError
from tests.training.fakes import FakeModel


@pytest.mark.parametrize("strategy", ["fsdp", "FSDP", "deepspeed_stage_2", "model_parallel"])
def test_strategies_that_split_weights(strategy: str) -> None:
    with pytest.raises(UserError, match=f"trainer.strategy={strategy} splits weights.*grad_checkpointing=true"):
        FitSettings(Path("x"), trainer={"strategy": strategy})


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true", None])
def test_strategies_that_copy_them(strategy: str | None) -> None:
    assert FitSettings(Path("x"), trainer={"strategy": strategy}).batch_size == 8


def test_precisions_that_are_not_known() -> None:
    with pytest.raises(UserError, match="trainer.precision=64-true is not supported"):
        FitSettings(Path("x"), trainer={"precision": "64-true"})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"lr": 0.0}, "optimizer.lr=0.0: must be float > 0"),
        ({"nesterov": True, "momentum": 0.0}, "optimizer.nesterov=true needs a momentum"),
        ({"momentum": 1.5}, "optimizer.momentum=1.5: must be float 0…1"),
        ({"name": "adamw", "betas": (0.9, 1.0)}, r"optimizer.betas=\[0.9, 1.0\]: must be"),
        ({"name": "adamw", "betas": (0.9,)}, r"optimizer.betas=\[0.9\]: must be"),
        ({"milestones": (0.5, 2.0)}, r"optimizer.milestones=\[0.5, 2.0\]: must be \[float 0…1"),
        ({"layer_decay": 0.0}, "optimizer.layer_decay=0.0: must be float >0…1"),
    ],
)
def test_values_at_which_an_optimiser_would_stumble(values: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        OptimizerSettings(**values)


BOUNDS: dict[str, tuple[Any, ...]] = {
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, 1e3),
    "backbone_lr_scale": (0.0, 100.0),
    "layer_decay": (0.001, 1.0),
    "warmup_epochs": (0.0, 1e3),
    "warmup_steps": (0, 10**9),
    "warmup_from": (0.0, 1.0),
    "final": (0.0, 1.0),
    "milestones": ((), (0.0,), (1.0,)),
    "gamma": (0.0, 1.0),
    "base_batch_size": (1, None),
}
"""The ends of the ranges that conf/optimizer states."""


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BOUNDS.items() for value in values])
@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_the_ends_of_each_range_train(key: str, value: Any, schedule: str) -> None:
    chosen = OptimizerSettings(schedule=schedule, **{key: value})
    model = FakeModel()
    optimizer = build_optimizer(model, chosen, step_images=4)
    share = multiplier(chosen, steps=12, steps_per_epoch=6)
    rates = [share(step) for step in range(12)]
    assert all(0 <= rate <= 1 for rate in rates)
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("seed", [0, 2**31, 2**63, 2**64, 2**70])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        seed_all(seed)
        first = torch.rand(3)
        seed_all(seed)
        assert torch.equal(first, torch.rand(3))
        seed_step(seed, 3, 1, torch.device("cpu"))
