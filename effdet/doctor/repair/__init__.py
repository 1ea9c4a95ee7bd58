"""A repaired copy of a set's annotations, with links to its valid images; the originals are only read.

What is faulty beyond doubt is left out, what can be put right is put right; ``repairs.json`` says how often each was done.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from effdet.data.checks import DataError
from effdet.doctor.examine import Diagnosis
from effdet.doctor.issues import ISSUE_TYPES
from effdet.doctor.repair.coco import repair_coco
from effdet.doctor.repair.plan import CopyLayout, RepairPlan
from effdet.doctor.repair.voc import repair_voc
from effdet.doctor.repair.yolo import repair_yolo
from effdet.files import making_folder

REPAIRERS = {"coco": repair_coco, "voc": repair_voc, "yolo": repair_yolo}
"""``data=NAME`` -> ``repairer(splits, plan)``, which writes a set of the same form to the plan's copy."""


@dataclass(frozen=True)
class Repair:
    """What was written."""

    directory: Path
    """The root of the repaired set."""
    done: dict[str, int]
    """What was done, and how often."""


def check_repairable(name: str, directory: Path) -> None:
    """Refuses a set of a form that cannot be repaired, and a folder that holds something, before any work.

    Raises:
        DataError: with the reason.
    """
    if name not in REPAIRERS:
        formats = ", ".join(REPAIRERS)
        raise DataError(
            f"doctor.fix=true data={name}: only {formats} can be repaired; mend the others by what doctor says"
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DataError(
            f"doctor.fix=true: {directory} is there already: remove it, or name another folder with out=DIR"
        )


def repair(found: Diagnosis, directory: Path) -> Repair:
    """Writes the repaired set below `directory`, which must not hold anything.

    Raises:
        DataError: see :func:`check_repairable`; or nothing of the set could be read.
    """
    check_repairable(found.spec.name, directory)
    if not found.splits:
        raise DataError(f"{found.spec.title}: none of its annotations could be read, so there is nothing to repair")
    done: Counter[str] = Counter()
    with making_folder(directory) as partial:
        plan = RepairPlan.of(found.issues, CopyLayout(found.splits[0].spec.root, partial), done)
        REPAIRERS[found.spec.name](found.splits, plan)
        plan.copy.count_others(done)
        opened = {name for split in found.splits for name in (split.name, *split.sides.tolist())}
        faulty = {issue.split for issue in found.issues if issue.split and ISSUE_TYPES[issue.kind].level == "error"}
        for split in sorted(faulty - opened):
            done[f"split left out: {split} cannot be read"] += 1
        done = +done  # without what was counted zero times
        (partial / "repairs.json").write_text(json.dumps(dict(done), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return Repair(directory, dict(done))
