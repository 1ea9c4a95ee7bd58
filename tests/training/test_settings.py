"""Settings that would train something else than was meant are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from effdet.training.settings import FitSettings
from heads.structures import UserError


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
