"""Commands for the executor's tests: found by name in a job's process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def settings(overrides: tuple[str, ...]) -> dict[str, str]:
    return dict(override.split("=", 1) for override in overrides)


def run(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """Does what ``do=`` says, and leaves a line in ``record=`` for each call."""
    chosen = settings(overrides)
    if "record" in chosen:
        with Path(chosen["record"]).open("a") as file:
            file.write(f"{chosen['do']}\n")
    match chosen["do"]:
        case "pass":
            return {"top1": float(chosen.get("value", "0.5")), "loss": float("nan"), "per_class": [1, 2], "sure": True}
        case "raise":
            raise RuntimeError("a bad\ncandidate")
        case "nan":
            raise FloatingPointError("loss is not finite")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill":
            os.kill(int(chosen["victim"]), signal.SIGKILL)
            time.sleep(60)
        case "leave":
            os._exit(3)
        case "sleep":
            signal.signal(signal.SIGTERM, lambda number, frame: _saved(chosen["saved"]))
            Path(chosen["started"]).write_text(str(os.getpid()))
            time.sleep(250)
    raise AssertionError(chosen)


def trained(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """As a training of a model file would end: the more kernels of 5, the better."""
    chosen = settings(overrides)
    stages = json.loads(Path(chosen["architecture.path"]).read_text())["backbone"]["stages"]
    assert chosen["resume"] == "auto" and chosen["report"] == "false"
    return {"top1": sum(stage["kernel"] for stage in stages) / 35}


def _saved(path: str) -> None:
    Path(path).write_text("saved")
    raise Stopped


class Stopped(BaseException):
    """As a training does that was reported to stop."""

    exit_code = 143
