"""The end of a run: what ends it, that a restart of it does nothing, and what a resume that asks for more goes on with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from effdet.training import fit, newest_valid, read_checkpoint
from effdet.training.monitor import beats
from effdet.training.settings import CheckpointSettings, EarlyStoppingSettings, OptimizerSettings
from heads.structures import UserError
from tests.training.fakes import FakeModel, equal, evaluate_fake, factory, settings
from tests.training.test_resume import EVERY, SAME, Stop, StopAt, last, rows

CONSTANT: dict[str, Any] = {"optimizer": OptimizerSettings(lr=0.05, schedule="constant", warmup_steps=2)}


class Scores:
    """An evaluation whose AP is that of a list, one after another."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values, self.count = list(values), 0

    def __call__(self, model: Any) -> dict[str, Any]:
        self.count += 1
        return {"AP": self.values[min(self.count, len(self.values)) - 1]}


class Steps(Callback):
    """Counts the batches that are trained on."""

    def __init__(self) -> None:
        self.count = 0
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.count += 1
        self.rates.append(optimizer.param_groups[0]["lr"])


def run(
    directory: Path,
    evaluate: Any = evaluate_fake,
    *,
    extra: tuple[Callback, ...] = (),
    images: int = 24,
    **changes: Any,
):
    return fit(
        FakeModel(),
        factory(images),
        settings=settings(directory, **changes),
        evaluate=evaluate,
        resume=newest_valid(directory),
        data="abc",
        draw_batch=None,
        callbacks=extra,
    )


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `directory`: when it was written, and what it holds."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


ENDS: dict[str, tuple[dict[str, Any], str, int]] = {
    "epochs": ({}, "finished", 18),
    "steps in mid-epoch": ({"trainer": {"max_steps": 9}}, "steps", 9),
    "steps at the end of an epoch": ({"trainer": {"max_steps": 6}}, "steps", 6),
    "steps in the first batches": ({"trainer": {"max_steps": 3}}, "steps", 3),
    "steps with accumulation": ({"trainer": {"max_steps": 2, "accumulate_grad_batches": 4}}, "steps", 2),
    "steps before min_epochs": ({"trainer": {"max_steps": 3, "min_epochs": 2}}, "steps", 3),
    "time": ({"trainer": {"max_time": {"milliseconds": 1}}}, "time", 1),
    "time before min_epochs": ({"trainer": {"max_time": {"milliseconds": 1}, "min_epochs": 2}}, "time", 1),
    "time with accumulation": ({"trainer": {"max_time": {"milliseconds": 1}, "accumulate_grad_batches": 3}}, "time", 1),
    "early stopping": ({"early_stopping": EarlyStoppingSettings(patience=1)}, "early stopping", 12),
    "early stopping inside an epoch": (
        {"early_stopping": EarlyStoppingSettings(patience=2), "trainer": {"val_check_interval": 0.5}},
        "early stopping",
        9,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_is_over_is_left_alone(end: str, tmp_path: Path) -> None:
    changes, reason, steps = ENDS[end]
    first = run(tmp_path, Scores([0.5]), **changes)
    assert (first.reason, first.steps) == (reason, steps)
    before, evaluate, counted = contents(tmp_path), Scores([0.5]), Steps()
    for _ in range(2):
        again = run(tmp_path, evaluate, extra=(counted,), **changes)
        assert (again.reason, again.steps, again.epochs) == (reason, steps, first.epochs)
        assert (again.metrics, again.best_score, again.best_path) == (first.metrics, first.best_score, first.best_path)
    assert (counted.count, evaluate.count) == (0, 0)
    assert contents(tmp_path) == before


def test_the_model_of_a_run_that_is_over_holds_the_average(tmp_path: Path) -> None:
    run(tmp_path)
    model = FakeModel()
    fit(
        model, factory(), settings=settings(tmp_path), evaluate=evaluate_fake, resume=newest_valid(tmp_path), data="abc"
    )
    assert equal(dict(model.state_dict()), last(tmp_path)["state_dict"])


MORE: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "epochs": ({"trainer": {"max_epochs": 2}}, {"trainer": {"max_epochs": 4}}, 24),
    "steps": ({"trainer": {"max_steps": 9}}, {"trainer": {"max_steps": 15}}, 15),
    "no limit of steps": ({"trainer": {"max_steps": 9}}, {}, 18),
    "time": ({"trainer": {"max_time": {"milliseconds": 1}}}, {"trainer": {"max_time": "1h"}}, 18),
    "patience": (
        {"early_stopping": EarlyStoppingSettings(patience=1)},
        {"early_stopping": EarlyStoppingSettings(patience=2)},
        18,
    ),
    "no early stopping": ({"early_stopping": EarlyStoppingSettings(patience=1)}, {}, 18),
}


@pytest.mark.parametrize("what", MORE)
def test_more_is_trained(what: str, tmp_path: Path) -> None:
    before, after, steps = MORE[what]
    stopped = run(tmp_path, Scores([0.5]), **before, **CONSTANT).steps
    counted = Steps()
    assert run(tmp_path, Scores([0.5]), extra=(counted,), **after, **CONSTANT).steps == steps
    assert counted.count == steps - stopped > 0


@pytest.mark.parametrize("trainer", [{"max_steps": 9}, {"max_time": {"milliseconds": 1}}, {"max_epochs": 1}])
def test_killed_in_the_last_evaluation_only_evaluates(trainer: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(tmp_path, extra=(StopAt("on_validation_batch_end", 2 if "max_steps" in trainer else 1),), trainer=trainer)
    saved, counted, evaluate = last(tmp_path), Steps(), Scores([0.25])
    result = run(tmp_path, evaluate, extra=(counted,), trainer=trainer)
    assert (counted.count, evaluate.count, result.steps) == (0, 1, saved["global_step"])
    assert result.metrics == {"AP": 0.25}
    assert equal(saved["raw_state_dict"], last(tmp_path)["raw_state_dict"])
    before = contents(tmp_path)
    run(tmp_path, evaluate, extra=(counted,), trainer=trainer)
    assert (counted.count, evaluate.count) == (0, 1)
    assert contents(tmp_path) == before


def cosine(step: int, *, steps: int, warmup: int) -> float:
    """Worked out anew: share of the peak at step n of `steps`, 0 for the first."""
    if step < warmup:
        return 0.1 + 0.9 * step / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


@pytest.mark.parametrize("stop", [None, 8])
@pytest.mark.parametrize("after", [{"max_epochs": 4}, {"max_epochs": 9, "max_steps": 24}])
def test_a_resumed_schedule_is_that_of_the_longer_run(stop: int | None, after: dict[str, Any], tmp_path: Path) -> None:
    extra = () if stop is None else (StopAt("on_train_batch_end", stop),)
    with suppress(Stop):
        run(tmp_path, extra=extra, trainer={"max_epochs": 2}, **EVERY)
    done, seen = last(tmp_path)["global_step"], Steps()
    run(tmp_path, extra=(seen,), trainer=after, **EVERY)
    assert seen.rates == pytest.approx([0.1 * cosine(step, steps=24, warmup=2) for step in range(done, 24)])
    assert seen.rates[0] > 0.04  # today's answer was the end of the old cosine, 0


def test_a_resumed_step_schedule_falls_where_the_longer_run_says(tmp_path: Path) -> None:
    falling = OptimizerSettings(lr=0.1, base_batch_size=None, schedule="step", milestones=(0.5,), warmup_steps=0)
    run(tmp_path, trainer={"max_epochs": 2}, optimizer=falling)
    seen = Steps()
    run(tmp_path, extra=(seen,), trainer={"max_epochs": 6}, optimizer=falling)
    # Half of 12 steps lay at 6; half of 36 lies at 18.
    assert seen.rates == pytest.approx([0.1] * 6 + [0.01] * 18)


def test_a_warm_up_that_the_short_run_cut_goes_on(tmp_path: Path) -> None:
    slow = OptimizerSettings(lr=0.1, base_batch_size=None, schedule="constant", warmup_steps=20, warmup_from=0.0)
    run(tmp_path, trainer={"max_steps": 10}, optimizer=slow)  # at most half of the run: 4 steps
    seen = Steps()
    run(tmp_path, extra=(seen,), trainer={"max_epochs": 10}, optimizer=slow)
    assert seen.rates[:11] == pytest.approx([0.1 * min(step / 20, 1) for step in range(10, 21)])


def test_the_patience_that_is_asked_for_counts(tmp_path: Path) -> None:
    scores = [0.1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]
    ten: dict[str, Any] = {"max_epochs": 10}
    first = run(tmp_path, Scores(scores), trainer=ten, early_stopping=EarlyStoppingSettings(patience=2))
    assert (first.reason, first.epochs) == ("early stopping", 4)
    more = run(tmp_path, Scores(scores[4:]), trainer=ten, early_stopping=EarlyStoppingSettings(patience=5))
    assert (more.reason, more.epochs) == ("early stopping", 7)  # best after 2, then 5 that are no better


def test_patience_brought_by_a_resume_counts_from_the_best(tmp_path: Path) -> None:
    run(tmp_path, Scores([0.5, 0.4, 0.4]), trainer={"max_epochs": 3})
    result = run(tmp_path, Scores([0.4]), trainer={"max_epochs": 10}, early_stopping=EarlyStoppingSettings(patience=4))
    assert (result.reason, result.epochs) == ("early stopping", 5)


def test_min_delta_of_the_resume_counts(tmp_path: Path) -> None:
    run(tmp_path, Scores([0.5]), trainer={"max_epochs": 1}, early_stopping=EarlyStoppingSettings(patience=2))
    strict = EarlyStoppingSettings(patience=2, min_delta=0.1)
    result = run(tmp_path, Scores([0.55, 0.59, 0.9]), trainer={"max_epochs": 10}, early_stopping=strict)
    assert result.epochs == 3


def test_patience_spent_before_min_epochs_counts_anew_from_a_later_best(tmp_path: Path) -> None:
    # Best at epoch 2; three worse; better at 7, just before min_epochs; then three worse again.
    scores = [0.1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5]
    result = run(
        tmp_path,
        Scores(scores),
        trainer={"max_epochs": 11, "min_epochs": 8},
        early_stopping=EarlyStoppingSettings(patience=3),
    )
    assert (result.reason, result.epochs, result.best_score) == ("early stopping", 10, 0.6)


@pytest.mark.parametrize(("least", "epochs"), [({"min_epochs": 5}, 5), ({"min_steps": 25}, 5), ({}, 3)])
def test_patience_spent_ends_the_run_at_its_minimum(least: dict[str, int], epochs: int, tmp_path: Path) -> None:
    early = EarlyStoppingSettings(patience=2)
    changes: dict[str, Any] = {"trainer": {"max_epochs": 9, **least}, "early_stopping": early}
    result = run(tmp_path, Scores([0.5]), **changes)
    assert (result.reason, result.epochs) == ("early stopping", epochs)


def test_the_first_metric_is_better_than_none() -> None:
    assert beats(0.0, None, "max") and beats(0.1, None, "min")
    assert beats(0.5, 0.4, "max") and not beats(0.5, 0.4, "max", least=0.2) and not beats(0.4, 0.4, "min")


def test_time_counts_over_resumes_also_before_it_was_limited(tmp_path: Path) -> None:
    run(tmp_path, trainer={"max_epochs": 1})
    taken = last(tmp_path)["seconds"]
    assert taken > 0
    result = run(tmp_path, trainer={"max_epochs": 3, "max_time": {"seconds": taken}})
    assert (result.reason, result.steps) == ("time", 6)


def test_callbacks_save_what_was_seen_and_nothing_that_is_configured(tmp_path: Path) -> None:
    """A value of the configuration in a checkpoint would silently rule over the one that a resume asks for."""
    run(tmp_path, early_stopping=EarlyStoppingSettings(patience=50), trainer={"max_time": "1h"})
    assert {name: set(state) for name, state in last(tmp_path)["callbacks"].items()} == {
        "EarlyStopping": {"best", "waited"},
        "CheckpointSaver": {"best_score", "best_step"},
        "Ema": {"latest_update_step", "updates"},
        "FiniteGuard": {"in_a_row", "skipped"},
        "StartEvaluation": {"score"},
    }


def test_early_stopping_without_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="early_stopping.patience=2 needs an evaluation"):
        run(tmp_path, None, early_stopping=EarlyStoppingSettings(patience=2))


def test_saves_of_checkpoint_settings_follow_the_resume(tmp_path: Path) -> None:
    run(tmp_path, trainer={"max_epochs": 1}, checkpoint=CheckpointSettings(max_share=1.0, keep_previous=False))
    assert not (tmp_path / "checkpoints" / "last.ckpt.previous").exists()
    run(tmp_path, trainer={"max_epochs": 2}, checkpoint=CheckpointSettings(max_share=1.0, keep_previous=True))
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt.previous")["global_step"] == 12
    assert len(rows(tmp_path)) > 0
    assert set(SAME) <= last(tmp_path).keys()
