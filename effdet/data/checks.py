"""What is wrong with a data set, collected while it is read and reported at once.

Readers never stop at the first fault: they note it in a :class:`Findings`, leave the faulty item out and read on.
:func:`effdet.data.open_dataset` raises one :class:`DataError` if any finding is an error; ``doctor`` reads the findings
themselves.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from heads.structures import UserError

SHOWN = 10
"""How many findings an error prints; the rest are counted."""


class DataError(UserError):
    """Data that cannot be used as it is.

    Args:
        text: the one line.
        kind: name of the fault, for ``doctor``'s list; empty for faults of the command.
        file: the file that holds it.
    """

    def __init__(self, text: str, *, kind: str = "", file: str | Path = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.file = str(file)


class MissingSplit(DataError):
    """A split that the set does not have."""


@dataclass(frozen=True)
class Finding:
    """One fault: what kind, in which file, in which object of that file."""

    level: str
    """``error`` (stops the work) or ``warning`` (the item is mended or left out, and counted)."""
    kind: str
    """A short stable name, such as ``zero-area`` or ``missing-image``."""
    file: str
    """The file that holds the fault, as the set names it."""
    item: str
    """The object inside the file, such as ``annotation 7``; empty when the file itself is meant."""
    text: str
    """What is wrong with it, in words, with the offending value."""
    image: str = ""
    """The image that it concerns, where that is another file."""
    box: tuple[float, ...] | None = None
    """x, y, width, height in pixels of the image, for a fault that can be drawn."""

    def __str__(self) -> str:
        return f"{self.file}: {self.item + ': ' if self.item else ''}{self.text}"


@dataclass
class Findings:
    """The findings of one reading, in the order in which they were met."""

    items: list[Finding] = field(default_factory=list)
    where: Callable[[int], tuple[str, str]] | None = None
    """Names a box of the table that was read, by its row: the file that holds it, and what it is called there."""

    def error(self, kind: str, file: str | Path, text: str, *, item: str = "", **shown: Any) -> None:
        self.items.append(Finding("error", kind, str(file), item, text, **shown))

    def warning(self, kind: str, file: str | Path, text: str, *, item: str = "", **shown: Any) -> None:
        self.items.append(Finding("warning", kind, str(file), item, text, **shown))

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.items if finding.level == "error"]

    def pass_over(self, kinds: Collection[str]) -> None:
        """Errors of `kinds` become warnings: the items are left out either way."""
        self.items = [
            replace(finding, level="warning") if finding.level == "error" and finding.kind in kinds else finding
            for finding in self.items
        ]

    def summaries(self) -> list[str]:
        """One line for each kind of warning: how many, what, and the first one as an example."""
        found = [finding for finding in self.items if finding.level == "warning"]
        counts = Counter(finding.kind for finding in found)
        first = {finding.kind: finding for finding in reversed(found)}
        return [f"{count} × {kind} (first: {first[kind]})" for kind, count in counts.items()]

    def raise_errors(self, title: str) -> None:
        """Raises one :class:`DataError` with the first errors, one a line, and the count of all."""
        errors = self.errors
        if not errors:
            return
        if len(errors) == 1:
            text = str(errors[0])
            raise DataError(text if text.startswith(f"{title}: ") else f"{title}: {text}")
        counts = Counter(finding.kind for finding in errors)
        kinds = ", ".join(f"{count} × {kind}" for kind, count in counts.most_common())
        lines = [f"{title}: {len(errors)} problems ({kinds})"]
        lines += [f"  {finding}" for finding in errors[:SHOWN]]
        if len(errors) > SHOWN:
            lines.append(f"  … and {len(errors) - SHOWN} more; `effdet doctor` lists them all")
        raise DataError("\n".join(lines))


def check_names(names: Sequence[str], file: str | Path, findings: Findings) -> None:
    """Notes each class name that occurs twice: the examples of both would be learnt as the second."""
    first: dict[str, int] = {}
    for label, name in enumerate(names):
        if name in first:
            text = (
                f"{name!r} is the name of class {first[name]} and of class {label}: rename one, or let effdet doctor join "
                "them (doctor.fix=true)"
            )
            findings.error("duplicate-category", file, text, item=f"class {label}")
        first.setdefault(name, label)


def missing(paths: Iterable[Path]) -> list[int]:
    """Positions of the `paths` that are not files. Lists each folder once: 118,000 images take a second, not minutes."""
    directories: dict[Path, set[str]] = {}
    lacking = []
    for position, path in enumerate(paths):
        parent = path.parent
        if parent not in directories:
            try:
                with os.scandir(parent) as entries:
                    directories[parent] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                directories[parent] = set()
        if path.name not in directories[parent]:
            lacking.append(position)
    return lacking
