"""What was stored is there after a kill; what was half stored is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from effdet.search.store import StudyStore
from heads.structures import UserError

SETTINGS = {"algorithm": "ppo", "seed": 0, "sizes": (3, 2)}


def test_a_study_reads_back_what_was_written(tmp_path):
    with StudyStore(tmp_path / "study.sqlite", SETTINGS) as store:
        assert store.newest_batch() is None and store.trials() == []
        trials = store.add_batch([(0, 1), (2, 0)], b"state 0")
        assert [(trial.number, trial.choices, trial.state) for trial in trials] == [
            (0, (0, 1), "waiting"),
            (1, (2, 0), "waiting"),
        ]
        store.start(0)
        store.finish(0, "done", reward=0.5, accuracy=0.6, cost=2.0, seconds=3.0)
        store.finish(1, "nan", reward=0.0, error="loss is not finite")
        store.add_batch([(1, 1)], b"state 1")
    with StudyStore(tmp_path / "study.sqlite", SETTINGS) as store:
        assert store.newest_batch() == (1, b"state 1")
        first, second, third = store.trials()
        assert (first.reward, first.accuracy, first.cost, first.seconds, first.ended) == (0.5, 0.6, 2.0, 3.0, True)
        assert (second.state, second.error, second.accuracy) == ("nan", "loss is not finite", None)
        assert (third.number, third.batch, third.state, third.ended) == (2, 1, "waiting", False)
        assert store.trials(batch=1) == [third]
        assert store.settings == {"algorithm": "ppo", "seed": 0, "sizes": [3, 2]}


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path):
    with StudyStore(tmp_path / "study.sqlite", SETTINGS) as store:

        def choices():
            yield (0, 0)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.add_batch(choices(), b"state")
        assert store.newest_batch() is None and store.trials() == []


def test_other_settings_are_refused_by_name(tmp_path):
    StudyStore(tmp_path / "study.sqlite", SETTINGS).close()
    with pytest.raises(UserError, match=r"other settings \(seed=1, there 0\)"):
        StudyStore(tmp_path / "study.sqlite", {**SETTINGS, "seed": 1})
    (tmp_path / "text").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(UserError, match="not a study"):
        StudyStore(tmp_path / "text", SETTINGS)


def test_finished_trials_outlive_sigkill(tmp_path):
    path = tmp_path / "study.sqlite"
    script = (
        "import os, signal; from effdet.search.store import StudyStore\n"
        f"store = StudyStore({str(path)!r}, {{}})\n"
        "store.add_batch([(0,), (1,)], b'state')\n"
        "store.start(0); store.finish(0, 'done', reward=0.5); store.start(1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert done.returncode == -signal.SIGKILL
    with StudyStore(path, {}) as store:
        assert [(trial.state, trial.reward) for trial in store.trials()] == [("done", 0.5), ("running", None)]


def test_a_trial_ends_in_a_known_way(tmp_path):
    with StudyStore(tmp_path / "study.sqlite", {}) as store, pytest.raises(ValueError, match="done, failed, nan"):
        store.finish(0, "lost", reward=0.0)
