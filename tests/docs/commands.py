"""The commands that README, docs and the headers of configuration files show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_START = re.compile(r"^(?:python scripts/(\w+)\.py|(?:python -m )?effdet (\w+))(?=\s|$)")
_FENCE = re.compile(r"^ *```", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """One command as a page shows it."""

    page: str
    line: int
    """Of the page, from 1."""
    command: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.command} {' '.join(self.arguments)}"


def shown_commands() -> list[Shown]:
    """All of them, in the order of pages and lines."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "conf").rglob("*.yaml"))]
    return [shown for page in pages for shown in _of(page)]


def _of(page: Path) -> Iterator[Shown]:
    name = page.relative_to(ROOT).as_posix()
    lines = page.read_text(encoding="utf-8").splitlines()
    code = page.suffix == ".yaml"  # there a command stands in a comment, indented by three blanks
    number = 0
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        if page.suffix == ".md" and _FENCE.match(line):
            code = not code
            continue
        text = _text(line, page.suffix)
        if not code or not (match := _START.match(text)):
            continue
        while text.endswith("\\") and number < len(lines):
            text = text[:-1] + " " + _text(lines[number], page.suffix)
            number += 1
        # What follows three blanks in a header, or a "#" on a page, explains the command.
        text = re.split(r" {3,}" if page.suffix == ".yaml" else r"\s#\s", text, maxsplit=1)[0]
        text = re.split(r"\s(?:>|\||&)", text, maxsplit=1)[0].rstrip(" ;…")
        arguments = shlex.split(text[match.end() :])
        yield Shown(name, first, match.group(1) or match.group(2), tuple(arguments))


def _text(line: str, suffix: str) -> str:
    return line.removeprefix("#").strip() if suffix == ".yaml" else line.strip()
