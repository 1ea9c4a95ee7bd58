"""What the end of a run says of its start, by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from effdet.cli.training import best_of, from_start_to_best, made_worse
from effdet.training.settings import FitSettings, OptimizerSettings


def result(start, best) -> Any:
    return SimpleNamespace(start_score=start, best_score=best, monitor="AP")


def settings(mode="max"):
    return FitSettings(run_dir=Path("x"), monitor_mode=mode, optimizer=OptimizerSettings(lr=0.08))


def test_better():
    assert from_start_to_best(result(0.6, 0.643)) == "AP: 0.6000 at the start -> 0.6430 at best"
    assert made_worse(result(0.6, 0.643), settings(), "a.tflite") is None
    assert made_worse(result(0.6, 0.6), settings(), "a.tflite") is None
    assert made_worse(result(2.0, 1.5), settings("min"), "a.tflite") is None


def test_where_nothing_was_measured_no_number_is_shown():
    assert best_of(result(None, 0.643), "best.ckpt") == "best: 0.6430 in best.ckpt"
    text = best_of(result(None, None), "best.ckpt")
    assert text == "best: not known, since nothing in val measures AP; the newest weights are in best.ckpt"


def test_worse_names_both_and_the_way_out():
    text = made_worse(result(0.6, 0.058), settings(), "a.tflite") or ""
    assert "AP 0.6000 at the start, 0.0580 at best" in text and "a.tflite" in text
    assert "a lower optimizer.lr (here 0.08 with sgd)" in text and "\n" not in text
    assert made_worse(result(1.5, 2.0), settings("min"), "a.tflite") is not None


def test_nothing_without_a_start_or_an_evaluation():
    for case in (result(None, 0.5), result(0.5, None)):
        assert from_start_to_best(case) is None and made_worse(case, settings(), None) is None
