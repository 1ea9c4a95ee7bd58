"""The starting weights are evaluated once, before the first step, and nothing else of the run changes."""

import csv
import time

import pytest
import torch

from effdet.training import Interrupted, fit, newest_valid, read_checkpoint
from tests.training.fakes import FakeModel, equal, evaluate_fake, factory, kill_at, settings


def run(directory, *, at_start, evaluate=evaluate_fake, **options):
    model = FakeModel()
    changes = options.pop("changes", {})
    result = fit(
        model,
        factory(),
        settings=settings(directory, **changes),
        evaluate=evaluate,
        at_start=at_start,
        draw_batch=None,
        **options,
    )
    return model, result


def rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_at_step_0_and_the_same_run_to_the_bit(tmp_path):
    start = evaluate_fake(FakeModel().eval())["AP"]
    plain, _ = run(tmp_path / "plain", at_start=False)
    model, result = run(tmp_path / "started", at_start=True)
    assert equal(plain.state_dict(), model.state_dict())
    first, *others = rows(tmp_path / "started")
    assert (first["step"], first["epoch"]) == ("0", "0")
    assert float(first["val/AP"]) == pytest.approx(start, abs=1e-5) and first["lr"] == ""
    keep = [name for name in first if name not in ("images_per_second", "memory_gib")]
    without = rows(tmp_path / "plain")
    assert [[row[name] for name in keep] for row in others] == [[row[name] for name in keep] for row in without]
    assert result.start_score == pytest.approx(start)
    assert run(tmp_path / "again", at_start=False)[1].start_score is None
    for name in ("last", "best"):
        one, two = (
            read_checkpoint(tmp_path / directory / "checkpoints" / f"{name}.ckpt") for directory in ("plain", "started")
        )
        assert equal(one["state_dict"], two["state_dict"]) and equal(one["optimizer_states"], two["optimizer_states"])


def test_a_resume_does_not_evaluate_again_and_knows_the_start(tmp_path):
    counted = []

    def evaluate(model):
        counted.append(None)
        return evaluate_fake(model)

    with pytest.raises(Interrupted):
        run(tmp_path, at_start=True, evaluate=evaluate, callbacks=[kill_at(8, 15)])
    before = len(counted)
    model, result = run(tmp_path, at_start=True, evaluate=evaluate, resume=newest_valid(tmp_path))
    assert before == 2 and len(counted) == 4  # start and epoch 0; then epochs 1 and 2
    assert result.start_score == pytest.approx(evaluate_fake(FakeModel().eval())["AP"])
    assert [row["step"] for row in rows(tmp_path)].count("0") == 1
    whole, _ = run(tmp_path / "whole", at_start=True)
    assert equal(whole.state_dict(), model.state_dict())


def test_a_start_over_without_a_checkpoint_leaves_no_rows_of_the_first_attempt(tmp_path):
    run(tmp_path, at_start=True, changes={"trainer": {"max_epochs": 1}})
    run(tmp_path, at_start=True, changes={"trainer": {"max_epochs": 1}})
    steps = [(row["step"], row["val/AP"] != "") for row in rows(tmp_path)]
    assert len(steps) == len(set(steps)) and steps[0] == ("0", True)


def test_random_state_and_modes_are_left_alone(tmp_path):
    seen = {}

    def evaluate(model):
        torch.rand(5)
        torch.manual_seed(99)
        seen.setdefault("training", model.training)
        return {"AP": 0.5}

    one, _ = run(tmp_path / "one", at_start=True, evaluate=evaluate)
    two, _ = run(tmp_path / "two", at_start=False, evaluate=evaluate)
    assert seen == {"training": False} and equal(one.state_dict(), two.state_dict())


def test_its_time_counts_towards_max_time(tmp_path) -> None:
    """A second of evaluation before a run of half a second: one step is taken, and the limit is reached."""

    def slow(model):
        time.sleep(1.0)
        return evaluate_fake(model)

    result = run(
        tmp_path, at_start=True, evaluate=slow, changes={"trainer": {"max_time": {"seconds": 1}, "max_epochs": 50}}
    )[1]
    assert (result.reason, result.steps) == ("time", 1)
