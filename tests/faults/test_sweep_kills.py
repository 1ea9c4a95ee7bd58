"""A multirun of real trainings, killed twice and resumed, against an uninterrupted multirun on another launcher."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from effdet.cli.sweep import JobRecord

COMMAND = (
    "train -m phi=-4 max_images=4 image_size=64 weights=none batch_size=2 device=cpu logger=null progress=false workers=0 "
    "trainer.max_epochs=3 evaluation.every=3 checkpoint.every_steps=1 checkpoint.max_share=1 preflight=false report=false "
    "seed=0,1,2 augment=none,light"
)
TIMED = ("seconds", "images_per_second")


def start(directory: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "effdet", *COMMAND.split(), f"hydra.sweep.dir={name}", *more],
        cwd=directory,
        stdout=(directory / f"{name}.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_twice_is_the_same_as_left_alone(tmp_path):
    for job in (0, 3):
        process = start(tmp_path, "killed")
        saved = tmp_path / "killed" / str(job) / "checkpoints" / "last.ckpt"
        while not saved.exists():
            assert process.poll() is None, (tmp_path / "killed.log").read_text()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start(tmp_path, "killed").wait() == 0, (tmp_path / "killed.log").read_text()
    ray = ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"]
    other = ray if importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") else []
    assert start(tmp_path, "whole", *other).wait() == 0, (tmp_path / "whole.log").read_text()
    starts = []
    for number in range(6):
        killed, whole = (tmp_path / name / str(number) for name in ("killed", "whole"))
        one, two = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (killed, whole))
        for key in ("state_dict", "raw_state_dict"):
            assert one[key].keys() == two[key].keys()
            assert all(torch.equal(one[key][name], two[key][name]) for name in one[key])
        first, second = (json.loads((path / "metrics.json").read_text()) for path in (killed, whole))
        assert {key: first[key] for key in first if key not in TIMED} == {
            key: second[key] for key in second if key not in TIMED
        }
        record = JobRecord.read(killed)
        assert record is not None
        starts.append(record.starts)
    assert starts == [2, 1, 1, 2, 1, 1]
    print((tmp_path / "killed" / "sweep.md").read_text(), (tmp_path / "whole" / "sweep.md").read_text())
