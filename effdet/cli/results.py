"""What a command gives back to a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """The outcome of a training or an evaluation."""

    run_dir: Path | None
    """Folder of everything that was written; None after ``--help`` and ``--print``."""
    metrics: Mapping[str, Any]
    """``AP``, ``AP50``, … of the last evaluation."""
