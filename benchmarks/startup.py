"""How long a user waits before anything happens: ``--help``, and from ``train`` to the first step."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.pairing import BenchmarkError
from benchmarks.table import Line

ROOT = Path(__file__).parents[1]


def startup_rows(*, rounds: int = 5) -> list[Line]:
    """Medians of `rounds`, interleaved."""
    waits: dict[str, list[float]] = {"help": [], "imports": [], "step": [], "joined": []}
    _first_step(1)  # draws the generated set where there is none yet
    for _ in range(rounds):
        waits["help"].append(_seconds("-m", "effdet", "--help"))
        waits["imports"].append(_seconds("-c", "import torch, lightning.pytorch"))
        waits["step"].append(_first_step(1))
        waits["joined"].append(_first_step(2))

    def beyond(name: str) -> str:
        return (
            f"{statistics.median(step - bare for step, bare in zip(waits[name], waits['imports'], strict=True)):.1f} s"
        )

    return [
        Line("help", "`effdet --help`", "< 1 s", note=f"{statistics.median(waits['help']):.2f} s"),
        Line("first-step", "from `train` to the first step, beyond bare imports", "≤ 8 s", note=beyond("step")),
        Line("first-step-of-two", "the same in two processes, one started by the other", "–", note=beyond("joined")),
    ]


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def _first_step(processes: int) -> float:
    """Seconds until `train` tells of its first step."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["experiment=quickstart", f"cpu_processes={processes}", "max_images=16", "trainer.max_steps=1"]
        arguments.append(f"run_dir={directory}/run")
        command = [sys.executable, "-u", "scripts/train.py", *arguments]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        seen = None
        for line in process.stdout:
            if seen is None and "step 1/" in line:
                seen = time.perf_counter() - started
        if process.wait() != 0 or seen is None:
            raise BenchmarkError(f"{' '.join(command)} called with no first step")
        return seen
