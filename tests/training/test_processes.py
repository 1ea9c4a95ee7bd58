"""Runs in processes of their own: several that train together, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from effdet.training import read_checkpoint
from tests.training.fakes import equal
from tests.training.test_resume import assert_same

ROOT = Path(__file__).parents[2]
DDP = {"devices": 2, "strategy": "ddp"}


def command(run_dir: Path, **overrides: Any) -> list[str]:
    return [sys.executable, "-m", "tests.training.fakes", json.dumps({"run_dir": str(run_dir), **overrides})]


def launch(run_dir: Path, **overrides: Any) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        command(run_dir, **overrides), capture_output=True, text=True, cwd=ROOT, timeout=400, env=environment
    )


def last(directory: Path) -> dict[str, Any]:
    return read_checkpoint(directory / "checkpoints" / "last.ckpt")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """2 processes of 4 images give the weights of 1 of 8 (BatchNorm frozen, which sees only each process's images)."""
    common = {"freeze": ["bn"]}
    one = launch(tmp_path / "one", still=True, changes={"batch_size": 8, **common})
    two = launch(tmp_path / "two", still=True, changes={"batch_size": 4, "trainer": DDP, **common})
    assert one.returncode == 0, one.stderr[-2000:]
    assert two.returncode == 0, two.stderr[-2000:]
    a, b = last(tmp_path / "one"), last(tmp_path / "two")
    assert a["global_step"] == b["global_step"] == 9
    for name, value in a["raw_state_dict"].items():
        torch.testing.assert_close(value, b["raw_state_dict"][name], rtol=1e-5, atol=1e-6)
    assert a["lr_schedulers"] == b["lr_schedulers"] and a["resume_point"]["epoch"] == b["resume_point"]["epoch"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_stop_together_and_resume_exactly(tmp_path: Path) -> None:
    changes = {"trainer": {**DDP, "max_epochs": 6}}
    whole = launch(tmp_path / "whole", changes=changes)
    assert whole.returncode == 0, whole.stderr[-2000:]
    stopped = launch(tmp_path / "corrupt", changes=changes, signal=int(signal.SIGTERM), step=5)
    assert stopped.returncode == 143, (stopped.returncode, stopped.stderr[-2000:])
    assert last(tmp_path / "corrupt")["global_step"] == 10, "the processes ask each other at every tenth step"
    resumed = launch(tmp_path / "corrupt", changes=changes)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    a, b = last(tmp_path / "whole"), last(tmp_path / "corrupt")
    for key in ("state_dict", "raw_state_dict", "optimizer_states", "resume_point"):
        assert equal(a[key], b[key]), key


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_again_and_again(tmp_path: Path) -> None:
    """kill -9 at 20 random moments, in saves too; the end is that of the uninterrupted run, bit for bit."""
    changes = {"checkpoint": {"every_steps": 1, "max_share": 1.0}, "trainer": {"max_epochs": 150}}
    whole = launch(tmp_path / "whole", changes=changes)
    assert whole.returncode == 0, whole.stderr[-2000:]
    corrupt = launch(tmp_path / "corrupt", changes=changes, kills=20, seconds=0.5)
    assert corrupt.returncode == 0, corrupt.stderr[-2000:]
    assert corrupt.stdout.split()[-1] == "20"
    assert_same(tmp_path / "corrupt", tmp_path / "whole")
