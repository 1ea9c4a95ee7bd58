"""A command in a process of its own: for notebooks, whose own command line is not the command's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from effdet.cli.results import RunResult
from effdet.cli.words import Words
from heads.structures import UserError


def run_command(name: str, words: Words) -> RunResult:
    """Run ``python -m effdet NAME WORDS``, hand its lines on, and read what it wrote.

    Raises:
        UserError: it failed; its last line says why.
    """
    command = [sys.executable, "-m", "effdet", name, *words.flags(), *(str(word) for word in words.words)]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if process.returncode:
        raise UserError(last.removeprefix("error: ") or f"effdet {name} ended with exit code {process.returncode}")
    folder = Path(last)  # a command ends with the path of what it wrote
    found = folder / "metrics.json"
    return RunResult(folder, json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {})
