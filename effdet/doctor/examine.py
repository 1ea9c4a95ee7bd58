"""The examination of a set, from beginning to end."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effdet.data.checks import DataError
from effdet.data.spec import SPLITS, DataSpec
from effdet.doctor.coverage import Coverage, CoverageSettings, coverage_of
from effdet.doctor.formats import CHECKS
from effdet.doctor.images import check_images, check_repeats, check_unlisted
from effdet.doctor.issues import LEVELS, Issues
from effdet.doctor.labels import Balance, check_boxes, check_classes, check_unlabelled
from effdet.doctor.reading import Split, open_images, open_splits
from effdet.doctor.scan import Seen, scan_images
from effdet.files import write_text
from effdet.workers import cores

FAIL_ON = {"error": ("error",), "warning": ("error", "warning"), "none": ()}


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What doctor found."""

    spec: DataSpec
    issues: Issues
    splits: tuple[Split, ...]
    """The valid parts."""
    seen: tuple[Seen, ...]
    balance: Balance | None
    coverage: Coverage | None
    seconds: float

    @property
    def images(self) -> int:
        return sum(len(split.source) for split in self.splits)

    @property
    def boxes(self) -> int:
        return sum(len(split.source.records.labels) for split in self.splits)

    def fails(self, fail_on: str) -> bool:
        """Whether there are findings of the levels at which the command fails: ``error``, ``warning`` or ``none``."""
        return any(self.issues.total(level) for level in FAIL_ON[fail_on])

    def to_dict(self) -> dict[str, Any]:
        """For doctor.json: counts, every finding that was kept, balance and coverage."""
        issues = self.issues
        return {
            "data": self.spec.name,
            "root": None if self.spec.root is None else str(self.spec.root),
            "splits": {
                split.name: {"images": len(split.source), "boxes": len(split.source.records.labels)}
                for split in self.splits
            },
            "totals": {level: issues.total(level) for level in LEVELS},
            "kinds": {name: issues.counts[name] for name in issues.issue_types()},
            "findings": [issue.to_dict() for name in issues.issue_types() for issue in issues.of(name)],
            "classes": None if self.balance is None else vars(self.balance),
            "anchors": None if self.coverage is None else self.coverage.to_dict(),
            "forms": dict(Counter(facts.mode for part in self.seen for facts in part.facts if facts.mode)),
            "seconds": round(self.seconds, 2),
        }

    def write_json(self, path: Path) -> Path:
        """Writes :meth:`to_dict`; a file that was there is replaced in one step."""
        return write_text(path, json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")


def examine(
    spec: DataSpec,
    *,
    split: str | None = None,
    coverage: CoverageSettings | None = None,
    workers: int | None = None,
    progress: bool = True,
    unlabelled: Sequence[Path] = (),
) -> Diagnosis:
    """Looks at a set and notes all that is wrong with it; nothing is changed.

    Args:
        spec: the set; its `split` is not heeded.
        split: only this one; None takes all that there are.
        coverage: the detector whose anchors are tried on the boxes; None leaves that out.
        workers: processes that decode images; None goes by the cores, 0 decodes in this one.
        progress: draw a bar on a terminal.
        unlabelled: images without labels that are learnt from too: they are decoded, and looked for in the splits.

    Raises:
        DataError: there is no such set.
    """
    start = time.perf_counter()
    issues = Issues()
    splits = open_splits(spec, SPLITS if split is None else (split,), issues)
    for part in splits:
        if (check := CHECKS.get(part.spec.name)) is not None:
            with suppress(DataError):  # noted when it was opened
                check(part.spec, issues)
    for part in splits:
        check_boxes(part, issues)
        check_unlabelled(part, issues)
    covered = next((place for place, part in enumerate(splits) if "boxes" in part.source.labelled), 0)
    processes = cores(16) if workers is None else workers
    looked = [*splits, *([open_images(unlabelled, "unlabelled", spec, issues)] if unlabelled else [])]
    seen = scan_images(looked, workers=processes, coverage=coverage, covered=covered, progress=progress)
    for part, found in zip(looked, seen, strict=True):
        check_images(part, found, issues)
    check_repeats(looked, seen, issues)
    seen = seen[: len(splits)]
    check_unlisted(looked, issues)
    balance = check_classes(splits, issues) if splits else None
    fitted = None
    if coverage is not None and splits and "boxes" in splits[covered].source.labelled:
        fitted = coverage_of(splits[covered], seen[covered].matched, coverage, issues)
    return Diagnosis(spec, issues, tuple(splits), tuple(seen), balance, fitted, time.perf_counter() - start)
