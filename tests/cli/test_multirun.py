"""``-m``: Hydra's jobs, each a process of one run; interrupted, failing and repeated ones; the table at the end."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from effdet.cli import multirun
from effdet.cli.app import main
from effdet.cli.sweep import JobRecord, metric, sweep_table

FAKE = (sys.executable, str(Path(__file__).with_name("fake_command.py")))


@pytest.fixture
def fake(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(multirun, "PROGRAM", FAKE)
    return tmp_path


def starts(directory: Path) -> list[list[str]]:
    return [json.loads(line) for line in (directory / "starts.txt").read_text().splitlines()]


def test_a_grid_of_jobs_in_the_default_folder(fake, capsys):
    assert main(["train", "-m", "seed=0,1,2", "augment=none,light"]) == 0
    (directory,) = (fake / "runs" / "sweeps").iterdir()
    assert directory.name.startswith("train-seed-augment-")
    assert not HydraConfig.initialized()
    asked = [starts(directory / str(number)) for number in range(6)]
    assert asked[1] == [
        ["train", "seed=0", "augment=light", f"run_dir={directory / '1'}", "resume=auto"],
    ]
    assert all(len(each) == 1 for each in asked)
    printed = capsys.readouterr().out
    # 0.60, 0.61, 0.62 against 0.50, 0.51, 0.52: each difference is 0.1
    assert "| augment=light | 3     | 0.6100 | 0.0100 | –       |" in printed
    assert "| augment=none  | 3     | 0.5100 | 0.0100 | -0.1000 | -0.1000 … -0.1000 | seeds | 0.000 |" in printed
    assert printed.splitlines()[-1] == str(directory.relative_to(fake))
    assert "    effdet train seed=2 augment=light\n" in printed
    record = json.loads((directory / "sweep.json").read_text())
    assert record["best"]["job"] == 5
    assert (directory / "sweep.csv").read_text().splitlines()[2].startswith("1,done,0,light,AP,0.6,")
    assert (directory / "sweep.md").read_text() in printed

    assert main(["train", "-m", "seed=0,1,2", "augment=none,light"]) == 0  # has its results: nothing is started
    assert all(len(starts(directory / str(number))) == 1 for number in range(6))

    capsys.readouterr()
    assert main(["compare", str(directory), "out=difference"]) == 0
    assert "effdet train seed=2 augment=light" in capsys.readouterr().out
    assert json.loads((fake / "difference" / "sweep.json").read_text())["best"]["job"] == 5
    assert main(["compare", str(directory), str(directory / "0")]) == 2
    assert "name one of its jobs" in capsys.readouterr().err


def test_failing_jobs_are_named_and_tried_again(fake, capsys):
    assert main(["train", "-m", "seed=13,1", "hydra.sweep.dir=my sweep"]) == 1
    printed = capsys.readouterr().out
    assert "failed: job 0, seed=13: error: thirteen is no seed" in printed
    assert "best: AP 0.5100, my sweep/1" in printed
    assert main(["train", "-m", "seed=13,1", "hydra.sweep.dir=my sweep"]) == 1
    assert len(starts(fake / "my sweep" / "0")) == 2
    assert len(starts(fake / "my sweep" / "1")) == 1


def test_a_folder_of_other_jobs_is_refused(fake, capsys):
    assert main(["train", "-m", "seed=0", "hydra.sweep.dir=x"]) == 0
    assert main(["train", "-m", "seed=1", "hydra.sweep.dir=x"]) == 2
    assert "holds another job, train seed=0; name another folder by hydra.sweep.dir=DIR" in capsys.readouterr().err


def test_folders_by_overrides_and_paths_with_commas(fake, capsys):
    roots = [fake / "a b", fake / "c,d", fake / "e=[f"]
    for root in roots:
        root.mkdir()
    overrides = ["data=folder", "task=classification", f'data.root={roots[0]},"{roots[1]}",{roots[2]}']
    assert main(["train", "-m", *overrides, "hydra.sweep.dir=s", "hydra.sweep.subdir=job-${hydra.job.num}"]) == 0
    given = [starts(fake / "s" / f"job-{number}")[0][3] for number in range(3)]
    assert given == [f"data.root={root}" for root in roots]


def test_values_of_all_kinds_reach_the_job_as_they_were_written(fake):
    (fake / "it's ${x}").mkdir()
    overrides = [
        "optimizer.lr=1e-3,0.1",
        "image_size=[64,96]",
        "norm_momentum=null",
        "data.root=it's ${x}",
        "seed=range(3,5)",
    ]
    assert main(["train", "-m", *overrides, "hydra.sweep.dir=s"]) == 0
    seen = starts(fake / "s" / "1")[0][1:6]
    assert seen == ["optimizer.lr=0.001", "image_size=[64,96]", "norm_momentum=null", "data.root=it's ${x}", "seed=4"]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["seed=0,-1", "optimizer.lr=-1,0.1"], ["seed=-1: must be int ≥ 0", "optimizer.lr=-1: must be float > 0"]),
        (["sed=0,1", "backbone=b0,b77"], ["sed: no such key; did you mean seed?", "backbone=b77: no such choice"]),
        (["data=coco", "data.root=/no/a,/no/b"], ["data.root=/no/a: no such", "data.root=/no/b: no such"]),
        (["run_dir=x", "seed=0,1"], ["run_dir=x: under -m each job has a folder"]),
        (["resume=auto"], ["resume=auto: under -m"]),
        (["weights=https://me:secret@host/w.ckpt"], ["weights=https://host/w.ckpt: carries a credential"]),
        (["seed=[1"], ["seed=[1: the value could not be read"]),
        (["hydra/launcher=nowhere"], ["Could not find 'hydra/launcher/nowhere'"]),
        (["--cfg", "job"], ["--cfg --multirun: give one of them"]),
    ],
)
def test_every_job_is_checked_before_the_first_starts(fake, capsys, arguments, lines):
    assert main(["train", "-m", *arguments]) == 2
    errors = capsys.readouterr().err
    assert all(line in errors for line in lines), errors
    assert "secret" not in errors
    assert not (fake / "runs").exists()


def test_commands_without_a_folder_of_results(fake, capsys):
    assert main(["serve", "-m", "model=a,b"]) == 2
    assert "writes no folder of results" in capsys.readouterr().err


def test_hydras_keys_without_jobs_are_refused(fake, capsys):
    assert main(["train", "hydra/launcher=joblib", "hydra.sweep.dir=x"]) == 2
    errors = capsys.readouterr().err
    assert "hydra/launcher=joblib: counts only with -m" in errors
    assert "hydra.sweep.dir=x: counts only with -m" in errors


def test_hydra_mode_is_a_multirun(fake):
    assert main(["train", "hydra.mode=MULTIRUN", "seed=0,1", "hydra.sweep.dir=s"]) == 0
    assert (fake / "s" / "1" / "metrics.json").exists()


def test_sweeper_of_a_users_own_file(fake, tmp_path):
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 0,1\n      augment: none,light\n"
    (own / "grid.yaml").write_text(text)
    assert main(["train", "-m", "--config-dir", str(tmp_path / "own"), "experiment=grid", "hydra.sweep.dir=s"]) == 0
    assert starts(fake / "s" / "3")[0][3:6] == ["seed=1", "augment=light", "experiment=grid"]


def test_the_name_follows_from_what_is_swept_alone():
    from effdet.cli.overrides import split_overrides

    def name(*overrides: str) -> str:
        return multirun.default_name("train", split_overrides(["-m", *overrides]))

    assert name("seed=0,1") == name("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert name("seed=0,1") != name("seed=0,2")
    assert name("seed=0,1").startswith("train-seed-")


KILLED = """
import sys
from effdet.cli import multirun
multirun.PROGRAM = {program!r}
from effdet.cli.app import main
sys.exit(main({arguments!r}))
"""


def driver(arguments: list[str], directory: Path, pause: float) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", KILLED.format(program=FAKE, arguments=arguments)],
        cwd=directory,
        env={**os.environ, "FAKE_PAUSE": str(pause)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False])
def test_killed_at_any_moment_and_started_again(tmp_path, whole_group):
    arguments = ["train", "-m", "seed=0,1,2", "hydra.sweep.dir=s"]
    generator = random.Random(7)
    for _ in range(5):
        process = driver(arguments, tmp_path, 0.2)
        time.sleep(generator.uniform(2.0, 5.0))  # from the composing of the jobs to the last job
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
    assert driver(arguments, tmp_path, 0.0).wait() == 0
    for number in range(3):
        directory = tmp_path / "s" / str(number)
        assert (directory / "steps.txt").read_text() == "0\n1\n2\n3\n4\n"  # each step once, whatever was killed
        record = JobRecord.read(directory)
        assert record is not None and record.state == "done"
    assert [job.value for job in sweep_table(tmp_path / "s").jobs] == [0.5, 0.51, 0.52]


def test_a_signal_stops_the_job_too(tmp_path):
    process = driver(["train", "-m", "seed=0,1", "hydra.sweep.dir=s"], tmp_path, 10)
    deadline = time.monotonic() + 60
    while not (tmp_path / "s" / "0" / "starts.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert not (tmp_path / "s" / "1").exists()
    record = JobRecord.read(tmp_path / "s" / "0")
    assert record is not None and record.state == "started"


LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
    "ray": ("hydra_ray_launcher", ["+hydra.launcher.ray.init.num_cpus=2"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers(fake, launcher):
    package, options = LAUNCHERS[launcher]
    if importlib.util.find_spec(f"hydra_plugins.{package}") is None:
        pytest.skip(f"needs {package.replace('_', '-')}")
    arguments = ["train", "-m", "seed=0,13,2", "hydra.sweep.dir=s", f"hydra/launcher={launcher}", *options]
    for _ in range(2):
        assert main(arguments) == 1
    assert [len(starts(fake / "s" / str(number))) for number in range(3)] == [1, 2, 1]
    assert [job.value for job in sweep_table(fake / "s").jobs] == [0.5, None, 0.52]


def test_metric_of_a_task_with_several(tmp_path):
    assert metric(tmp_path) is None
    (tmp_path / "metrics.json").write_text(json.dumps({"mIoU": 0.5, "AP": 0.25}))
    assert metric(tmp_path) == ("AP", 0.25)
    (tmp_path / "config.yaml").write_text("task:\n  monitor: [AP, mIoU]\n")
    assert metric(tmp_path) == ("AP+mIoU", 0.375)
