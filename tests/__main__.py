"""``python -m tests``: every check of the project, one after the other; the tests come last.

Words are handed on to pytest: ``python -m tests -m slow``, ``python -m tests tests/cli -x``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def _steps(arguments: list[str]) -> list[tuple[str, list[str]]]:
    def tool(name: str) -> str:
        beside = BIN / name
        return str(beside) if beside.exists() else name

    return [
        ("ruff check", [tool("ruff"), "check", "."]),
        ("ruff format", [tool("ruff"), "format", "--check", "--quiet", "."]),
        ("import-linter", [tool("lint-imports"), "--no-cache"]),
        ("pyright", [tool("pyright"), "--pythonpath", sys.executable]),
        ("bare install", [sys.executable, "-m", "tests.bare_install"]),
        ("pytest", [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", *arguments]),
    ]


def main(arguments: list[str]) -> int:
    """Run all steps even where one fails; returns 1 if any did."""
    failed = []
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "NO_COLOR": "1"}
    for name, command in _steps(arguments):
        last = name == "pytest"
        started = time.perf_counter()
        print(f"--- {name}", flush=True)
        if last and failed:
            print(f"(failed before: {', '.join(failed)})", flush=True)
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=not last, text=True, check=False)
        if result.returncode:
            failed.append(name)
            if not last:
                print((result.stdout + result.stderr).rstrip())
        if not last:  # pytest's own closing line ends the output
            outcome = "FAILED" if result.returncode else "ok"
            print(f"{name}: {outcome} ({time.perf_counter() - started:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
