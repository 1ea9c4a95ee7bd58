"""The kill loop, shorter than the documented one of 20 kills."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_through_the_command_line(workers: int) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.faults.kill_loop",
        "--kills",
        "4",
        "--workers",
        str(workers),
        "--epochs",
        "12",
    ]
    result = subprocess.run([*command, "--seconds", "1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "equal bit for bit" in result.stdout
