"""The table: as lines of text, as JSON, as Markdown."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.pairing import Paired

MEBI = 2**20
HEAD = ("what", "aim", "ratio, ours / peer (quartiles)", "ms, ours / peer", "peak MiB above imports", "same function")
SHORT = ("what", "aim", "ratio, ours / peer", "ms, ours / peer", "peak memory")


@dataclass(frozen=True)
class Line:
    """One row's outcome."""

    name: str
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
        ours, peer = self.paired.ours_bytes / MEBI, self.paired.peer_bytes / MEBI
        memory = f"{ours:,.0f} / {peer:,.0f} = {ours / peer:.2f}" if peer > 0 else f"{ours:,.0f} / {peer:,.0f}"
        ratio = f"**{self.paired.ratio:.3f}** ({low:.3f}–{high:.3f})"
        return [self.title, self.aim, ratio, f"{mine:,.1f} / {other:,.1f}", memory, self.check]

    def short(self) -> list[str]:
        """For the README: no quartiles, memory as its ratio, no check."""
        title, aim, ratio, times, memory, _ = self.cells()
        return [title, aim, ratio.partition(" (")[0] if self.paired else ratio, times, memory.partition(" = ")[2]]

    def text(self) -> str:
        return f"{self.name}: " + " | ".join(cell for cell in self.cells() if cell).replace("**", "")

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"name": self.name, "title": self.title, "aim": self.aim}
        row |= {"check": self.check, "note": self.note, "cells": self.cells(), "short": self.short()}
        if self.paired is not None:
            row |= {"ratio": self.paired.ratio, "ours_s": self.paired.ours, "peer_s": self.paired.peer}
            row |= {"ours_bytes": self.paired.ours_bytes, "peer_bytes": self.paired.peer_bytes}
        return row


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run by name; none where there was none."""
    if not path.exists():
        return {}
    return {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}


def machine(threads: int) -> dict[str, Any]:
    """What the times hold for."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy", "pycocotools")},
        **{name: version for name in ("onnxruntime", "openvino", "hotcoco") if (version := _version(name))},
    }


def as_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def conditions(facts: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> str:
    """The machine, the days and the load average of the rows."""
    rows = [row for row in rows if "load" in row]
    loads = [value for row in rows for value in row["load"]]
    spread = f"; load average while it ran {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    days = sorted({row["date"] for row in rows})
    text = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "date")
    return f"*measured*: {' and '.join(days) or facts['date']}, {text}{spread}"


def write_json(path: Path, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"facts": facts, "rows": rows}, indent=1, ensure_ascii=False), encoding="utf-8")


def put_between_marks(path: Path, text: str, *, mark: str = "benchmarks") -> None:
    """Replace what stands between ``<!-- MARK -->`` and ``<!-- /MARK -->`` in `path`; without them, at its end."""
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    before, found, rest = page.partition(start)
    after = rest.partition(end)[2] if found else "\n"
    if not found and before and not before.endswith("\n\n"):
        before += "\n"
    path.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor, as the system calls it."""
    rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((row.split(":", 1)[1].strip() for row in rows if row.startswith("model name")), platform.machine())
