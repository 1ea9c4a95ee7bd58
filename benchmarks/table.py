"""The table: as lines of text, as JSON, as Markdown."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.pairing import Paired

MEBI = 2**20


@dataclass(frozen=True)
class Line:
    """One row's outcome."""

    title: str
    aim: str
    paired: Paired | None = None
    check: str = ""
    note: str = ""

    def cells(self) -> list[str]:
        """Title, aim, ratio with quartiles, times, memory, what the check says."""
        if self.paired is None:
            return [self.title, self.aim, self.note, "", "", ""]
        low, high = self.paired.spread
        mine, other = (statistics.median(side) * 1e3 for side in (self.paired.ours, self.paired.peer))
        memory = f"{self.paired.ours_bytes / MEBI:,.0f} / {self.paired.peer_bytes / MEBI:,.0f}"
        ratio = f"**{self.paired.ratio:.3f}** ({low:.3f}–{high:.3f})"
        return [self.title, self.aim, ratio, f"{mine:,.1f} / {other:,.1f}", memory, self.check]

    def text(self) -> str:
        return " | ".join(cell for cell in self.cells() if cell).replace("**", "")

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"title": self.title, "aim": self.aim, "check": self.check, "note": self.note}
        if self.paired is not None:
            row |= {"ratio": self.paired.ratio, "ours_s": self.paired.ours, "peer_s": self.paired.peer}
            row |= {"ours_bytes": self.paired.ours_bytes, "peer_bytes": self.paired.peer_bytes}
        return row


def write_table(lines: Sequence[Line], path: Path, *, threads: int) -> None:
    """`path` as JSON and, beside it, a Markdown table."""
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy", "pycocotools")},
    }
    path.write_text(
        json.dumps({"facts": facts, "rows": [line.to_dict() for line in lines]}, indent=2), encoding="utf-8"
    )
    head = [
        "what",
        "aim",
        "ratio, ours / peer (quartiles)",
        "ms, ours / peer",
        "peak MiB above imports",
        "same function",
    ]
    rows = [head, ["---"] * len(head), *(line.cells() for line in lines)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    path.with_suffix(".md").write_text(f"{table}\n\n*measured*: {told}\n", encoding="utf-8")


def cpu_name() -> str:
    """The processor, as the system calls it."""
    rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((row.split(":", 1)[1].strip() for row in rows if row.startswith("model name")), platform.machine())
