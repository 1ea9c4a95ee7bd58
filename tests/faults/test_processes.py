"""Several processes through the command line (gloo, CPU): they train what one does, however they are started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from effdet.training import read_checkpoint
from tests.faults.kill_loop import write_images
from tests.processes import unused_port

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
PROGRAM = str(ROOT / "scripts" / "train.py")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images a split: an odd number, of which a process of two evaluates four or five."""
    return write_images(tmp_path_factory.mktemp("data") / "set", count=9)


def overrides(data: Path, run_dir: Path, *, batch: int, epochs: int = 2) -> list[str]:
    return [
        "data=coco", f"data.root={data}", "phi=-4", "image_size=64", "weights=none", f"batch_size={batch}", "workers=0",
        "device=cpu", "logger=null", "progress=false", "freeze=bn", "backbone.drop_path=0.0", "preflight=false",
        "ema=0.9", f"trainer.max_epochs={epochs}", f"run_dir={run_dir}",
    ]  # fmt: skip


def start(command: list[str], directory: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(*processes: subprocess.Popen[str], code: int = 0) -> str:
    texts = [process.communicate(timeout=1500)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), "\n".join(texts)[-4000:]
    return "\n".join(texts)


def run(command: list[str], directory: Path, *, code: int = 0) -> str:
    return finish(start(command, directory), code=code)


def last(run_dir: Path) -> dict[str, Any]:
    return read_checkpoint(run_dir / "checkpoints" / "last.ckpt")


def metrics(run_dir: Path) -> dict[str, float]:
    values = json.loads((run_dir / "metrics.json").read_text())
    return {key: value for key, value in values.items() if isinstance(value, float) and "second" not in key}


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with batches of four."""
    directory = tmp_path_factory.mktemp("alone")
    run([sys.executable, PROGRAM, *overrides(data, directory / "run", batch=4)], directory)
    return directory / "run"


def assert_same(two: Path, one: Path) -> None:
    a, b = last(two), last(one)
    assert a["global_step"] == b["global_step"] == 4
    for part in ("raw_state_dict", "state_dict"):
        for name, value in b[part].items():
            torch.testing.assert_close(a[part][name], value, rtol=1e-3, atol=2e-4, msg=f"{part} {name}")
    moved = max(float((a["raw_state_dict"][name] - b["state_dict"][name]).abs().max()) for name in b["state_dict"])
    assert moved > 1e-3, "weights that have not moved prove nothing"


def test_devices(data: Path, alone: Path, tmp_path: Path) -> None:
    run([sys.executable, PROGRAM, *overrides(data, tmp_path / "run", batch=2), "trainer.devices=2"], tmp_path)
    assert_same(tmp_path / "run", alone)


def test_accumulation(data: Path, alone: Path, tmp_path: Path) -> None:
    """Two batches of two in a step are one of four: the images have unequal numbers of boxes."""
    more = ["trainer.accumulate_grad_batches=2"]
    run([sys.executable, PROGRAM, *overrides(data, tmp_path / "run", batch=2), *more], tmp_path)
    assert_same(tmp_path / "run", alone)


def test_torchrun(data: Path, alone: Path, tmp_path: Path) -> None:
    """With Hydra in the loop; the evaluation over two processes gives the numbers of one."""
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=2", PROGRAM, *overrides(data, tmp_path / "run", batch=2)]
    text = run([*command, "trainer.devices=2"], tmp_path)
    assert_same(tmp_path / "run", alone)
    assert text.count("model: ") == 1, "one process speaks for both"
    assert not list(tmp_path.glob("outputs")), "no folder of Hydra's"
    model = f"model={tmp_path}/run/checkpoints/last.ckpt"
    run([sys.executable, "-m", "effdet", "evaluate", model, "device=cpu", "workers=0", f"out={tmp_path}/one"], tmp_path)
    assert metrics(tmp_path / "run") == pytest.approx(metrics(tmp_path / "one"), abs=1e-9)


def test_cpu_processes_from_python(data: Path, alone: Path, tmp_path: Path) -> None:
    """`effdet.train` in a program that is no command of ours: the same two processes, the same weights."""
    said = [*overrides(data, tmp_path / "run", batch=2), "cpu_processes=2"]
    program = tmp_path / "notebook.py"
    program.write_text(f"import effdet\nprint('AP', effdet.train({said!r}).metrics['AP'])\n")
    text = run([sys.executable, str(program)], tmp_path)
    assert text.splitlines()[-1] == f"AP {metrics(tmp_path / 'run')['AP']}"
    assert_same(tmp_path / "run", alone)


def test_two_nodes(data: Path, alone: Path, tmp_path: Path) -> None:
    """Two torchruns of one process each, which meet on loopback."""
    common = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{unused_port()}"]
    program = [PROGRAM, *overrides(data, tmp_path / "run", batch=2), "trainer.num_nodes=2", "trainer.devices=1"]
    finish(*(start([*TORCHRUN, *common, *program], tmp_path) for _ in range(2)))
    assert_same(tmp_path / "run", alone)


def test_two_processes_go_on(data: Path, tmp_path: Path) -> None:
    """Average, optimiser and weights of a resumed run of two processes are those of one that was not stopped."""

    # The warm-up of a run that is said to last one epoch is shorter.
    rate = ["optimizer.schedule=constant", "optimizer.warmup_epochs=0"]

    def go(name: str, epochs: int, *more: str, code: int = 0) -> None:
        said = [
            *overrides(data, tmp_path / name, batch=2, epochs=epochs),
            "trainer.devices=2",
            *rate,
        ]
        run([sys.executable, PROGRAM, *said, *more], tmp_path, code=code)

    go("whole", 2)
    go("parts", 1)
    go("parts", 2, "resume=auto")
    a, b = last(tmp_path / "parts"), last(tmp_path / "whole")
    for part in ("state_dict", "raw_state_dict"):
        assert all(torch.equal(a[part][name], value) for name, value in b[part].items()), part
    assert str(a["optimizer_states"]) == str(b["optimizer_states"])


@pytest.mark.parametrize(
    "more, reported",
    [("trainer.strategy=fsdp", "error: trainer.strategy=fsdp"), ("sync_bn=true", "error: sync_bn=true")],
)
def test_what_is_not_supported_is_one_line(more: str, reported: str, data: Path, tmp_path: Path) -> None:
    said = [*overrides(data, tmp_path / "run", batch=2), "trainer.devices=2", more]
    process = start([sys.executable, PROGRAM, *said], tmp_path)
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 2 and f"error: {more}" in text and "Traceback" not in text, text[-3000:]
