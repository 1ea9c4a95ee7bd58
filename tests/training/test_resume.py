"""Exact resume: a run that was stopped and resumed ends bit-equal to the run that never was."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from effdet.training import Interrupted, fit, newest_valid, read_checkpoint
from effdet.training.callbacks.saver import CheckpointSaver
from effdet.training.extra_losses import ExtraLoss
from effdet.training.settings import CheckpointSettings, EmaSettings, OptimizerSettings
from heads.structures import UserError
from tests.training.fakes import FakeLoader, FakeModel, equal, evaluate_fake, factory, settings

SAME = ("state_dict", "raw_state_dict", "optimizer_states", "lr_schedulers", "loops", "resume_point", "global_step")
STEPS = 18


class Stop(Exception):
    pass


class StopAt(Callback):
    """Leaves as a crash does, at a hook of one's choice, the n-th time."""

    def __init__(self, hook: str, count: int) -> None:
        self.count = count
        setattr(self, hook, self._tick)

    def _tick(self, *args: Any) -> None:
        self.count -= 1
        if self.count == 0:
            raise Stop


def run(
    directory: Path,
    *,
    resume: Path | None = None,
    extra: tuple[Callback, ...] = (),
    losses: tuple[ExtraLoss, ...] = (),
    loader: Any = None,
    **changes: Any,
):
    return fit(
        FakeModel(),
        loader or factory(),
        settings=settings(directory, **changes),
        evaluate=evaluate_fake,
        resume=resume,
        data="abc",
        draw_batch=None,
        callbacks=extra,
        extra=losses,
    )


def last(directory: Path) -> dict[str, Any]:
    return read_checkpoint(directory / "checkpoints" / "last.ckpt")


def rows(directory: Path, *, without: tuple[str, ...] = ("images_per_second", "memory_gib")) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in without} for row in csv.DictReader(file)]


def assert_same(interrupted: Path, whole: Path) -> None:
    a, b = last(interrupted), last(whole)
    for key in SAME:
        assert equal(a[key], b[key]), f"{key} differs"
    assert equal(a["callbacks"], b["callbacks"])
    assert rows(interrupted) == rows(whole)


EVERY: dict[str, Any] = {"checkpoint": CheckpointSettings(every_steps=1, max_share=1.0)}
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "mid-epoch": ("on_train_batch_end", 3, EVERY),
    "mid second epoch": ("on_train_batch_end", 9, EVERY),
    "last batch of an epoch": ("on_train_batch_end", 6, EVERY),
    "start of an evaluation": ("on_validation_start", 1, EVERY),
    "inside an evaluation": ("on_validation_batch_end", 2, EVERY),
    "end of an evaluation": ("on_validation_end", 2, EVERY),
    "end of an epoch": ("on_train_epoch_end", 1, EVERY),
    "start of an epoch": ("on_train_epoch_start", 2, {}),
    "saved at epochs only": ("on_train_batch_end", 10, {}),
    "saved every fourth step": (
        "on_train_batch_end",
        11,
        {"checkpoint": CheckpointSettings(every_steps=4, max_share=1.0)},
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    assert run(directory).steps == STEPS
    return directory


@pytest.mark.parametrize("case", CASES)
def test_resume_is_exact(case: str, whole: Path, tmp_path: Path) -> None:
    hook, count, changes = CASES[case]
    with pytest.raises(Stop):
        run(tmp_path, extra=(StopAt(hook, count),), **changes)
    found = newest_valid(tmp_path)
    assert found is not None
    result = run(tmp_path, resume=found, **changes)
    assert (result.steps, result.epochs) == (STEPS, 3)
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("accumulate, batches", [(2, 5), (4, 7), (2, 12)])
def test_resume_with_accumulation(accumulate: int, batches: int, tmp_path: Path) -> None:
    # 6 batches of an epoch: with 4 the second step of an epoch is over 2 batches.
    trainer = {"accumulate_grad_batches": accumulate}
    run(tmp_path / "whole", trainer=trainer, **EVERY)
    with pytest.raises(Stop):
        run(tmp_path / "corrupt", trainer=trainer, extra=(StopAt("on_train_batch_end", batches),), **EVERY)
    run(tmp_path / "corrupt", trainer=trainer, resume=newest_valid(tmp_path / "corrupt"), **EVERY)
    assert_same(tmp_path / "corrupt", tmp_path / "whole")


@pytest.mark.parametrize("batches", [2, 3, 4, 8])
def test_resume_with_evaluations_inside_epochs(batches: int, tmp_path: Path) -> None:
    trainer = {"val_check_interval": 0.5}
    run(tmp_path / "whole", trainer=trainer, **EVERY)
    with pytest.raises(Stop):
        run(tmp_path / "corrupt", trainer=trainer, extra=(StopAt("on_train_batch_end", batches),), **EVERY)
    run(tmp_path / "corrupt", trainer=trainer, resume=newest_valid(tmp_path / "corrupt"), **EVERY)
    assert_same(tmp_path / "corrupt", tmp_path / "whole")
    assert sum(bool(row["val/AP"]) for row in rows(tmp_path / "corrupt")) == 6


@pytest.mark.parametrize(
    "changes", [{"ema": EmaSettings(enabled=False)}, {"optimizer": OptimizerSettings("adamw", 0.01)}]
)
def test_resume_of_other_recipes(changes: dict[str, Any], tmp_path: Path) -> None:
    run(tmp_path / "whole", **EVERY, **changes)
    with pytest.raises(Stop):
        run(tmp_path / "corrupt", extra=(StopAt("on_train_batch_end", 8),), **EVERY, **changes)
    run(tmp_path / "corrupt", resume=newest_valid(tmp_path / "corrupt"), **EVERY, **changes)
    assert_same(tmp_path / "corrupt", tmp_path / "whole")


def test_resume_of_a_run_without_evaluation(tmp_path: Path) -> None:
    def go(directory: Path, resume: Path | None = None, extra: tuple[Callback, ...] = ()) -> None:
        fit(
            FakeModel(),
            factory(),
            settings=settings(directory, **EVERY),
            resume=resume,
            draw_batch=None,
            callbacks=extra,
        )

    go(tmp_path / "whole")
    for count in (4, 6):
        corrupt = tmp_path / f"corrupt{count}"
        with pytest.raises(Stop):
            go(corrupt, extra=(StopAt("on_train_epoch_end", 1) if count == 6 else StopAt("on_train_batch_end", count),))
        go(corrupt, resume=newest_valid(corrupt))
        assert_same(corrupt, tmp_path / "whole")


@pytest.mark.parametrize("trainer", [{}, {"val_check_interval": 0.5}])
def test_resume_from_the_best(trainer: dict[str, Any], tmp_path: Path) -> None:
    """What is left where the last two are corrupt: it stands right behind an evaluation."""
    run(tmp_path / "whole", trainer=trainer)
    scores = iter([0.1, 0.3, 0.2])

    def evaluate(model: Any) -> dict[str, Any]:
        return {**evaluate_fake(model), "AP": next(scores)}

    with pytest.raises(Stop):
        fit(
            FakeModel(),
            factory(),
            settings=settings(tmp_path / "corrupt", trainer=trainer),
            evaluate=evaluate,
            data="abc",
            draw_batch=None,
            callbacks=[StopAt("on_validation_start", 3)],
        )
    best = tmp_path / "corrupt" / "checkpoints" / "best.ckpt"
    assert read_checkpoint(best)["resume_point"]["evaluated"]
    run(tmp_path / "corrupt", resume=best, trainer=trainer)
    for key in SAME:
        assert equal(last(tmp_path / "corrupt")[key], last(tmp_path / "whole")[key]), key
    assert [row["step"] for row in rows(tmp_path / "corrupt")] == [row["step"] for row in rows(tmp_path / "whole")]


def test_twice_interrupted(whole: Path, tmp_path: Path) -> None:
    for count in (4, 5):
        with pytest.raises(Stop):
            run(tmp_path, extra=(StopAt("on_train_batch_end", count),), resume=newest_valid(tmp_path), **EVERY)
    run(tmp_path, resume=newest_valid(tmp_path), **EVERY)
    assert_same(tmp_path, whole)


def test_a_finished_run_is_left_alone(whole: Path) -> None:
    before = last(whole)
    result = run(whole, resume=newest_valid(whole))
    assert result.steps == STEPS
    assert equal(before["state_dict"], last(whole)["state_dict"])


def test_more_epochs_continue_the_run(tmp_path: Path) -> None:
    constant = OptimizerSettings(lr=0.05, schedule="constant", warmup_steps=2)
    run(tmp_path / "long", trainer={"max_epochs": 4}, optimizer=constant)
    run(tmp_path / "short", trainer={"max_epochs": 2}, optimizer=constant)
    run(tmp_path / "short", trainer={"max_epochs": 4}, optimizer=constant, resume=newest_valid(tmp_path / "short"))
    assert_same(tmp_path / "short", tmp_path / "long")


def test_the_step_max_images_is_exact_and_evaluated(tmp_path: Path) -> None:
    constant: dict[str, Any] = {"optimizer": OptimizerSettings(lr=0.05, schedule="constant", warmup_steps=2)}
    result = run(tmp_path / "a", trainer={"max_steps": 9}, **constant)
    assert (result.steps, result.reason) == (9, "steps")
    assert result.metrics and last(tmp_path / "a")["resume_point"] == {"epoch": 1, "batch": 3, "evaluated": True}
    run(tmp_path / "a", trainer={"max_steps": -1}, resume=newest_valid(tmp_path / "a"), **constant)
    run(tmp_path / "b", **constant)
    for key in SAME:
        assert equal(last(tmp_path / "a")[key], last(tmp_path / "b")[key])


def test_a_resume_does_not_load_what_is_consumed(tmp_path: Path) -> None:
    made = []

    def remembering(**options: Any) -> Any:
        made.append(factory()(**options))
        return made[-1]

    with pytest.raises(Stop):
        run(tmp_path, extra=(StopAt("on_train_batch_end", 10),), **EVERY)
    run(tmp_path, resume=newest_valid(tmp_path), loader=remembering, **EVERY)
    # The checkpoint of step 9 is the last: callbacks run before the one that saves.
    assert made[0].served == [(1, 3), (1, 4), (1, 5), *[(2, number) for number in range(6)]]


@pytest.mark.parametrize(
    "changes, model, data, texts",
    [
        ({"seed": 1}, FakeModel(), "abc", ["seed=1: the run has 0"]),
        ({}, FakeModel(width=8), "abc", ["model.width=8: the run has 4"]),
        ({}, FakeModel(), "xyz", ["data=xyz: the run has abc"]),
        (
            {"batch_size": 2, "optimizer": OptimizerSettings(lr=1.0)},
            FakeModel(),
            "abc",
            ["batch_size=2: the run has 4", "optimizer.lr"],
        ),
    ],
)
def test_another_run_is_refused_with_the_differences(
    changes: dict[str, Any], model: FakeModel, data: str, texts: list[str], whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        fit(
            model,
            factory(),
            settings=settings(tmp_path, **changes),
            evaluate=evaluate_fake,
            resume=newest_valid(whole),
            data=data,
            draw_batch=None,
        )
    assert all(text in str(caught.value) for text in texts)
    assert "\n" not in str(caught.value)


def test_a_model_file_is_no_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"can't be resumed.*weights="):
        run(tmp_path, resume=tmp_path / "model.pt")


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves(number: int, code: int, whole: Path, tmp_path: Path) -> None:
    from tests.training.fakes import kill_at

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="after step 8, which is saved.*resume=auto") as caught:
        run(tmp_path, extra=(kill_at(8, number),))
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    assert last(tmp_path)["global_step"] == 8
    run(tmp_path, resume=newest_valid(tmp_path))
    assert_same(tmp_path, whole)


def test_a_signal_in_mid_accumulation_waits_for_the_step(tmp_path: Path) -> None:
    trainer = {"accumulate_grad_batches": 3}

    class Signal(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.fit_loop.total_batch_idx == 7:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(tmp_path / "a", extra=(Signal(),), trainer=trainer)
    assert last(tmp_path / "a")["resume_point"] == {"epoch": 1, "batch": 3, "evaluated": False}
    run(tmp_path / "a", trainer=trainer, resume=newest_valid(tmp_path / "a"))
    run(tmp_path / "b", trainer=trainer)
    assert_same(tmp_path / "a", tmp_path / "b")


def test_a_signal_that_also_ends_the_workers(whole: Path, tmp_path: Path) -> None:
    class Dying(FakeLoader):
        def _batches(self) -> Any:
            for batch in super()._batches():
                if self.served[-1] == (1, 3):
                    signal.raise_signal(signal.SIGTERM)
                    raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")
                yield batch

    with pytest.raises(Interrupted, match="after step 9"):
        run(tmp_path, loader=lambda **options: Dying(24, ahead=0, **options))
    assert last(tmp_path)["resume_point"] == {"epoch": 1, "batch": 3, "evaluated": False}
    run(tmp_path, resume=newest_valid(tmp_path))
    assert_same(tmp_path, whole)


def test_a_second_term_says_nothing_and_a_second_interrupt_leaves(tmp_path: Path) -> None:
    class Signals(Callback):
        def __init__(self, number: int) -> None:
            self.number = number

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.fit_loop.total_batch_idx == 7:
                signal.raise_signal(self.number)
                signal.raise_signal(self.number)

    with pytest.raises(Interrupted, match="after step 8, which is saved"):
        run(tmp_path / "a", extra=(Signals(signal.SIGTERM),))
    with pytest.raises(Interrupted, match="second time: the last step is not saved"):
        run(tmp_path / "b", extra=(Signals(signal.SIGINT),))
    assert last(tmp_path / "b")["global_step"] == 6


def test_a_signal_in_an_evaluation_leaves_at_once(whole: Path, tmp_path: Path) -> None:
    def evaluate(model: Any) -> dict[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal should have ended this")

    with pytest.raises(Interrupted):
        fit(FakeModel(), factory(), settings=settings(tmp_path), evaluate=evaluate, data="abc", draw_batch=None)
    assert last(tmp_path)["resume_point"] == {"epoch": 0, "batch": 6, "evaluated": False}
    run(tmp_path, resume=newest_valid(tmp_path))
    assert_same(tmp_path, whole)


def test_a_save_is_at_most_its_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Path] = []
    keep = CheckpointSaver._save

    def slow(self: CheckpointSaver, trainer: Any, path: Path, place: Any) -> None:
        keep(self, trainer, path, place)
        self._save_seconds = 1000.0
        saved.append(path)

    monkeypatch.setattr(CheckpointSaver, "_save", slow)
    run(tmp_path, checkpoint=CheckpointSettings(max_share=0.05))
    lasts = [path for path in saved if path.name == "last.ckpt"]
    assert len(lasts) == 2  # the first, whose cost was not known, and the end of the run
    assert last(tmp_path)["resume_point"]["epoch"] == 3
