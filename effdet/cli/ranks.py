"""Which of several processes this is, and how the first tells the others where the run is written.

Lightning starts its processes with the same words and with the environment of the first; torchrun starts all at once,
and lends them a key-value store.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

_VARIABLE = "EFFDET_RUN"
_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class Started:
    """What the first process decided."""

    run_dir: Path
    checkpoint: Path | None = None
    """Where to go on from."""
    over: bool = False
    """The run has reached its end before: there is nothing to do."""

    def to_json(self) -> str:
        return json.dumps([str(self.run_dir), None if self.checkpoint is None else str(self.checkpoint), self.over])

    @classmethod
    def from_json(cls, text: str) -> Started:
        run_dir, checkpoint, over = json.loads(text)
        return cls(Path(run_dir), None if checkpoint is None else Path(checkpoint), over)


def rank() -> int:
    """Of this process among all of the run; 0 where it is the only one."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def is_first() -> bool:
    """Whether this process prints and writes for all."""
    return rank() == 0


def under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def tell(started: Started) -> None:
    """To be called by the first process, when the folder is there. Its ``config.yaml`` follows before it starts others."""
    os.environ[_VARIABLE] = started.to_json()
    if under_torchrun():
        _store().set(_VARIABLE, started.to_json())


def forget() -> None:
    """The run is over: a next one in this process decides anew."""
    os.environ.pop(_VARIABLE, None)


def inherited() -> Started | None:
    """What a process that started this one decided; None in the first process, and under torchrun."""
    text = os.environ.get(_VARIABLE)
    return Started.from_json(text) if text and not is_first() and not under_torchrun() else None


def hear() -> Started | None:
    """What the first process decided, in another one; None where there is no way to know."""
    if under_torchrun():
        return Started.from_json(_store().get(_VARIABLE).decode())
    return inherited()


def _store() -> Any:
    """torchrun's own store, which every process can reach."""
    from torch import distributed

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(host, port, is_master=False, timeout=_PATIENCE)  # type: ignore[attr-defined]
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # each restart of the agent begins anew
    return distributed.PrefixStore(f"effdet-{restart}", store)  # type: ignore[attr-defined]
