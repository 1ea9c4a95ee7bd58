"""What doctor says of a set: findings with a level by their kind, counted, and kept up to a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effdet.data.checks import Finding
from effdet.doctor.issue_types import LEVELS, IssueType, kind_of

KEPT = 10_000
"""Findings of one kind that are kept; more of them are only counted."""


@dataclass(frozen=True)
class Issue:
    """One finding."""

    kind: str
    file: str
    """The file that holds the fault."""
    text: str
    """What is wrong with it, with the offending value."""
    item: str = ""
    """The object in the file: ``annotation 7``, ``object 3 (car)``, ``line 2``; empty for the file itself."""
    split: str = ""
    image: str = ""
    """The image that it concerns."""
    box: tuple[float, ...] | None = None
    """x, y, width, height in pixels of the image."""
    other: str = ""
    """A second image, for those that are alike."""
    level: str = ""
    """Filled in from the kind."""

    @classmethod
    def of(cls, finding: Finding, split: str) -> Issue:
        """A reader's finding."""
        return cls(
            finding.kind,
            finding.file,
            finding.text,
            finding.item,
            split,
            finding.image,
            finding.box,
            level=finding.level,
        )

    def to_dict(self) -> dict[str, Any]:
        """For doctor.json."""
        known = kind_of(self.kind, self.level)
        values = {"level": known.level, "kind": self.kind, "split": self.split, "file": self.file, "item": self.item}
        values |= {
            "text": self.text,
            "advice": known.advice,
            "image": self.image,
            "box": self.box,
            "other": self.other,
        }
        return {key: value for key, value in values.items() if value not in ("", None)}

    def __str__(self) -> str:
        return f"{self.file}: {self.item + ': ' if self.item else ''}{self.text}"


class Issues:
    """All findings, by kind in the order in which they were met."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Issue]] = {}
        self._seen: set[tuple[str, str, str, str]] = set()
        self.counts: Counter[str] = Counter()

    def add(self, issue: Issue) -> None:
        """Adds one; the same fault of the same object is not reported twice."""
        key = (issue.kind, issue.file, issue.item, issue.text)
        if key in self._seen:
            return
        self.counts[issue.kind] += 1
        kept = self._kept.setdefault(issue.kind, [])
        if len(kept) < KEPT:
            self._seen.add(key)
            kept.append(issue)

    def note(self, kind: str, file: str | Path, text: str, **rest: Any) -> None:
        """Adds a finding of `kind`, whatever its level."""
        self.add(Issue(kind, str(file), text, **rest))

    def __iter__(self) -> Iterator[Issue]:
        for kept in self._kept.values():
            yield from kept

    def of(self, kind: str) -> list[Issue]:
        return list(self._kept.get(kind, ()))

    def kind(self, name: str) -> IssueType:
        return kind_of(name, self._kept[name][0].level if self._kept.get(name) else "")

    def issue_types(self) -> list[str]:
        """Names of the kinds found, the grave and the frequent ones first."""
        return sorted(self.counts, key=lambda name: (LEVELS.index(self.kind(name).level), -self.counts[name], name))

    def total(self, level: str) -> int:
        """How many findings of a level there are."""
        return sum(count for name, count in self.counts.items() if self.kind(name).level == level)
