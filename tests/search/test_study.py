"""A study survives its own death, and that of its candidates."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from effdet.search.pareto import best_trial, pareto_front, plot_front
from effdet.search.store import StudyStore, Trial
from tests.search.fake_study import SPACE, TRIALS, passes, study


def outcome(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, seconds=None) for trial in trials]


def test_killed_outright_it_goes_on_to_the_bit(tmp_path):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "tests.search.fake_study", str(tmp_path / "killed")]
    done = subprocess.run(command, env=environment, cwd=root, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    with StudyStore(tmp_path / "killed" / "study.sqlite", {"algorithm": "ppo"}) as store:
        states = [trial.state for trial in store.trials()]
    assert states == ["done"] * 5 + ["running", "waiting", "waiting"]
    killed = study(tmp_path / "killed")
    whole = study(tmp_path / "whole", workers=1)
    assert outcome(killed) == outcome(whole)
    assert len(killed) == TRIALS
    assert len((tmp_path / "killed" / "record").read_text().split()) == TRIALS + 1  # the killer's was begun twice


def test_bad_candidates_cost_a_trial_each(tmp_path):
    bad = {2: ("do=die",), 3: ("do=nan",), 5: ("do=raise",)}
    trials = study(tmp_path, algorithm="random", what=lambda count: bad.get(count, passes(count)), trials=6)
    assert [trial.state for trial in trials] == ["done", "failed", "nan", "done", "failed", "done"]
    assert "SIGKILL" in trials[1].error and trials[2].error == "FloatingPointError: loss is not finite"
    assert trials[4].error == "RuntimeError: a bad candidate"
    assert [trial.reward for trial in trials if trial.state != "done"] == [0, 0, 0]
    assert all(trial.cost is not None and trial.seconds is not None for trial in trials)
    again = study(tmp_path, algorithm="random", trials=8)  # more of a study that was complete
    assert again[:6] == trials and [trial.state for trial in again[6:]] == ["done", "done"]
    # What ended badly and could say so is not run again; the result on the one that was killed is stored as well.
    assert len((tmp_path / "record").read_text().split()) == 8


def test_an_architecture_is_trained_once(tmp_path, monkeypatch):
    from effdet.search.algorithms import RandomSearch

    same = SPACE.encode(SPACE.base)
    monkeypatch.setattr(RandomSearch, "ask", lambda self, count: [same] * count)
    trials = study(tmp_path, algorithm="random", trials=5)
    assert [trial.same_as for trial in trials] == [None, 0, 0, 0, 0]
    assert len({(trial.reward, trial.accuracy, trial.cost) for trial in trials}) == 1
    assert len((tmp_path / "record").read_text().split()) == 1


def trial(
    number: int, accuracy: float, cost: float, *, reward: float = 0.0, state: str = "done", same: int | None = None
):
    return Trial(number, 0, (), state, reward, accuracy, cost, 1.0, "", same)


def page_of(trials, directory):
    return plot_front(trials, directory / "again.html", metric="top1", cost="GMACs", target=2.0).read_text()


def test_front_by_hand(tmp_path):
    trials = [
        trial(0, 0.5, 2.0, reward=0.50),
        trial(1, 0.4, 3.0, reward=0.39),  # dearer and worse than 0
        trial(2, 0.7, 5.0, reward=0.66),
        trial(3, 0.5, 2.0, reward=0.50, same=0),
        trial(4, 0.9, 1.0, state="failed"),
        trial(5, 0.3, 1.0, reward=0.31),
        trial(6, 0.7, 6.0, reward=0.65),  # as good as 2, and dearer
    ]
    assert [each.number for each in pareto_front(trials)] == [5, 0, 2]
    assert best_trial(trials) == trials[2]
    assert best_trial(trials[4:5]) is None and pareto_front([]) == []
    for some in (trials, []):
        page = plot_front(some, tmp_path / "front.html", metric="top1", cost="GMACs", target=2.0).read_text()
        assert page.count("<circle") == (2 * 5 + 1 if some else 0) and "GMACs" in page
    (front,) = re.findall(r'<polyline[^>]*points="([^"]*)"[^>]*><title>Pareto front', page_of(trials, tmp_path))
    rises = [tuple(map(float, place.split(","))) for place in front.split()]
    assert len(rises) == 5 and all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(rises))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(tmp_path, workers):
    found = outcome(study(tmp_path / "some", workers=workers, algorithm="reinforce", trials=6))
    assert found == outcome(study(tmp_path / "two", workers=2, algorithm="reinforce", trials=6))
