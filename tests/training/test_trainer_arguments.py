"""Every argument of Lightning's Trainer with values that people try: it works, or is one line before any work is done."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from effdet.cli.recipe import provisional
from effdet.cli.train import evaluated_images, fit_settings
from effdet.durations import seconds, seconds_of
from effdet.training import fit
from effdet.training.fitting import check_trainer
from heads.structures import UserError
from tests.cli.conftest import composed, problems
from tests.training.fakes import FakeModel, evaluate_fake, factory, settings

SIX = 6
"""Batches of an epoch of the fakes; their runs have three epochs."""
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_epochs": 0}, "trainer.max_epochs=0: trains nothing"),
    ({"max_epochs": None}, "trainer.max_epochs=null: the run would never end"),
    ({"max_epochs": -1}, "trainer.max_epochs=-1: the run would never end"),
    ({"max_steps": 0}, "trainer.max_steps=0 must be 1 or more"),
    ({"max_steps": -2}, "trainer.max_steps=-2 must be 1 or more"),
    ({"max_steps": 1.5}, "trainer.max_steps=1.5 must be 1 or more"),
    ({"max_time": "2x"}, "trainer.max_time=2x: is not a length of time; write 2h"),
    ({"max_time": 90}, "trainer.max_time=90: is not a length of time"),
    ({"max_time": {"hour": 1}}, "trainer.max_time=.*is not a length of time"),
    ({"max_time": "0s"}, "trainer.max_time=0s: must be longer"),
    ({"limit_train_batches": 0}, "trainer.limit_train_batches=0: trains nothing"),
    ({"limit_train_batches": 0.0}, "trainer.limit_train_batches=0.0: trains nothing"),
    ({"val_check_interval": 0}, "trainer.val_check_interval=0: must be above 0"),
    ({"val_check_interval": 0.0}, "trainer.val_check_interval=0.0: must be above 0"),
    ({"val_check_interval": "abc"}, "trainer.val_check_interval=abc: is not a length of time"),
    ({"val_check_interval": 100}, "trainer.val_check_interval=100: an epoch has 6 batches"),
    ({"num_nodes": 2}, "trainer.num_nodes=2: this process knows no other node"),
    ({"strategy": "abc"}, "trainer.strategy=abc: "),
    ({"strategy": "dp"}, "trainer.strategy=dp: "),
    ({"strategy": "ddp_spawn"}, "trainer.strategy=ddp_spawn: .*use trainer.strategy=ddp"),
    ({"accelerator": "abc"}, "trainer.accelerator=abc: "),
    ({"accelerator": "tpu"}, "trainer.accelerator=tpu: this machine has none"),
    ({"devices": 0}, "trainer.devices=0: "),
    ({"devices": -1}, "trainer.devices=-1: "),
    ({"devices": "abc"}, "trainer.devices=abc: "),
    ({"devices": []}, r"trainer.devices=\[\]: "),
    ({"profiler": "abc"}, "trainer.profiler=abc: "),
    ({"callbacks": "abc"}, "trainer.callbacks=abc: takes Lightning's objects"),
    ({"plugins": ["abc"]}, r"trainer.plugins=\['abc'\]: takes Lightning's objects"),
    ({"barebones": True}, "trainer.barebones=True: "),
]


def run(directory: Path, trainer: dict[str, Any], evaluate: Any = evaluate_fake) -> Any:
    chosen = settings(directory, trainer=trainer)
    check_trainer(chosen)
    return fit(FakeModel(), factory(), settings=chosen, evaluate=evaluate, data="abc", draw_batch=None)


@pytest.mark.parametrize(("trainer", "text"), REFUSED, ids=[str(trainer) for trainer, _ in REFUSED])
def test_one_line_before_the_first_step(trainer: dict[str, Any], text: str, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("MASTER_ADDR", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=text) as caught:
        run(tmp_path, trainer)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize("name", ["gpu", "cuda", "mps"])
def test_an_accelerator_that_is_not_there(name: str, tmp_path: Path) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UserError, match=f"^trainer.accelerator={name}: this machine has none that torch can use"):
        run(tmp_path, {"accelerator": name})


TAKEN: list[tuple[dict[str, Any], int]] = [
    ({"max_epochs": None, "max_steps": 5}, 5),
    ({"max_epochs": -1, "max_steps": 5}, 5),
    ({"max_time": "1h30m"}, 18),
    ({"max_time": {"hours": 1}}, 18),
    ({"limit_train_batches": 0.01}, 3),
    ({"limit_train_batches": 2}, 6),
    ({"limit_train_batches": 100}, 18),
    ({"limit_val_batches": 0.5}, 18),
    ({"limit_val_batches": 0.01}, 18),
    ({"limit_val_batches": 3}, 18),
    ({"overfit_batches": 0.5}, 9),
    ({"overfit_batches": 0.01}, 3),
    ({"overfit_batches": 2}, 6),
    ({"fast_dev_run": True}, 1),
    ({"val_check_interval": 0.01}, 18),
    ({"val_check_interval": "30m"}, 18),
    ({"val_check_interval": "00:00:10:00"}, 18),
    ({"val_check_interval": 100, "check_val_every_n_epoch": None}, 18),
    ({"check_val_every_n_epoch": 5}, 18),
    ({"deterministic": "warn"}, 18),
    ({"num_sanity_val_steps": 2}, 18),
    ({"min_epochs": 9, "min_steps": 99}, 18),
    ({"sync_batchnorm": True}, 18),
    ({"enable_checkpointing": False}, 18),
]


@pytest.mark.parametrize(("trainer", "steps"), TAKEN, ids=[str(trainer) for trainer, _ in TAKEN])
def test_it_works_and_is_evaluated_at_its_end(trainer: dict[str, Any], steps: int, tmp_path: Path) -> None:
    seen: list[int] = []
    counts = itertools.count()

    def evaluate(model: Any) -> dict[str, Any]:
        seen.append(next(counts))
        return evaluate_fake(model)

    result = run(tmp_path, trainer, evaluate)
    assert result.steps == steps
    assert result.metrics and seen
    torch.use_deterministic_algorithms(False)


def test_without_validation(tmp_path: Path) -> None:
    assert run(tmp_path, {"limit_val_batches": 0}, None).metrics == {}


@pytest.mark.parametrize(
    ("limit", "images"),
    [
        (1.0, None),
        (None, None),
        (0, None),
        (0.5, 105),
        (0.001, 1),
        (1, 8),
        (3, 24),
        (26, 208),
        (27, None),
        (1000, None),
    ],
)
def test_images_of_a_limited_evaluation(limit: float | None, images: int | None) -> None:
    assert evaluated_images(limit, 210) == images


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", 7200), ("1h30m", 5400), ("1h 30m", 5400), ("90 min", 5400), ("1.5h", 5400), ("2d", 172800), ("45s", 45),
        ("2 hours", 7200), ("01:30:00", 5400), ("00:01:30:00", 5400), ("1:00:00:00", 86400), ({"hours": 1, "minutes": 5}, 3900),
        ("", None), ("2", None), ("1:30", None), ("2x", None), ("h", None), ("-1h", None), (90, None), (True, None), ({}, None),
        ({"hours": True}, None), ({"hour": 1}, None), ("1h30", None),
    ],
)  # fmt: skip
def test_lengths_of_time(text: Any, expected: float | None) -> None:
    assert seconds(text) == expected


def test_no_length_of_time_is_no_limit() -> None:
    assert seconds_of(None, "key") is None


def test_the_command_line_takes_them() -> None:
    config = provisional(composed("train", "trainer.max_time=2h", "trainer.limit_val_batches=0.5", "device=cpu"))
    taken = fit_settings(config, Path("x"), "cpu")
    check_trainer(taken)
    assert taken.max_seconds == 7200
    wrong = (
        "trainer.max_epochs=1.5",
        "trainer.deterministic=abc",
        "trainer.limit_train_batches=1.5",
        "trainer.min_epochs=-1",
    )
    wrong += ("trainer.accumulate_grad_batches=0", "trainer.check_val_every_n_epoch=0", "trainer.log_every_n_steps=0")
    found = problems("train", *wrong)
    assert [line.partition(":")[0] for line in found] == sorted(
        wrong, key=[line.partition(":")[0] for line in found].index
    )
