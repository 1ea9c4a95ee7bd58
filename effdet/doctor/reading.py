"""Opening the splits of a set as they are, with everything that is wrong noted and nothing raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.checks import DataError, Findings, MissingSplit
from effdet.data.images import image_sizes
from effdet.data.open import held_out, note_unlabelled, opener_of
from effdet.data.records import Dataset
from effdet.data.spec import DataSpec
from effdet.data.unlabelled import as_unlabelled, unlabelled_records
from effdet.doctor.facts import look
from effdet.doctor.issues import Issue, Issues
from effdet.files import decode_name

_SWAPPED = "the set says"


@dataclass(frozen=True, eq=False)
class Split:
    """One split's valid part."""

    name: str
    """Of the files; where ``data.val_fraction`` divides them, `sides` says which image is whose."""
    source: Dataset
    spec: DataSpec
    where: Callable[[int], tuple[str, str]] | None
    """Names a box by its row: file and object."""
    sides: np.ndarray
    """(P,) str: the split that each image falls into."""

    def called(self, row: int) -> tuple[str, str]:
        """The file and the name of the box in `row` of the records."""
        if self.where is not None:
            return self.where(row)
        records = self.source.records
        image = int(np.searchsorted(records.starts, row, side="right")) - 1
        return str(self.path(image)), f"box {row - int(records.starts[image]) + 1}"

    def shown(self, row: int) -> dict[str, Any]:
        """What a finding says of the box in `row`: file, item, split, image, box."""
        records = self.source.records
        file, item = self.called(row)
        image = self.path(int(np.searchsorted(records.starts, row, side="right")) - 1)
        box = tuple(records.bbox[row].tolist())
        return {"file": file, "item": item, "split": self.name, "image": str(image), "box": box}

    def path(self, image: int) -> Path:
        """Where an image lies."""
        records = self.source.records
        return records.root / decode_name(records.paths[image])


def open_splits(spec: DataSpec, splits: Sequence[str], issues: Issues) -> list[Split]:
    """Reads each of `splits`; one that the set does not have is left out.

    Raises:
        DataError: the set is unknown, its root is not a folder, or none of the splits is there.
    """
    opener_of(spec)
    if spec.root is not None:
        spec.need_root()
    opened, lacking, failed = [], [], False
    for name in splits:
        if spec.val_fraction is not None and name == "val" and "train" in splits:
            continue  # it is a part of train, and stands there
        try:
            opened.append(_open(replace(spec, split=name), issues))
        except MissingSplit as error:
            lacking.append(error)
            if error.kind:
                issues.note(error.kind, error.file or replace(spec, split=name).title, str(error), split=name)
        except DataError as error:
            issues.note(error.kind or "unreadable-set", error.file or spec.title, str(error), split=name)
            failed = True
    if not opened and not failed:
        raise lacking[0]
    return opened


def _open(spec: DataSpec, issues: Issues) -> Split:
    findings = Findings()
    try:
        # Not through open_dataset: it would hold a part out, and rows would lose their names.
        source = opener_of(spec)(spec, findings)
        if len(source) == 0 and not findings.errors:
            findings.error("no-images", spec.title, "lists no image at all")
        else:
            note_unlabelled(source, spec, findings)
    finally:
        for finding in findings.items:
            issues.add(_refined(Issue(**vars(finding), split=spec.split)))
    if spec.max_images is not None:
        source = source.subset(range(min(spec.max_images, len(source))))
    sides = np.full(len(source), spec.split)
    if spec.val_fraction is not None and spec.split == "train":
        held = held_out((decode_name(name) for name in source.records.file_names), spec.val_fraction)
        sides = np.where(held, "val", "train")
    return Split(spec.split, source, spec, findings.where, sides)


def open_images(paths: Sequence[Path], name: str, spec: DataSpec, issues: Issues) -> Split:
    """Images without labels that a training learns from: they count to train, so that one of them in val is a leak."""
    findings = Findings()
    source = as_unlabelled(unlabelled_records(paths, findings), name)
    for finding in findings.items:
        issues.add(_refined(Issue(**vars(finding), split="unlabelled")))
    return Split("unlabelled", source, spec, None, np.full(len(source), "train"))


def _refined(issue: Issue) -> Issue:
    """Faults that the readers tell in one kind and doctor in several."""
    if issue.kind == "unreadable-image":
        facts = look(Path(issue.file))
        return replace(issue, kind=facts.fault or issue.kind, text=facts.text or issue.text)
    if issue.kind == "duplicate-image-id" and issue.level == "warning":
        return replace(issue, kind="listed-twice")
    if issue.kind == "wrong-size" and issue.text.startswith(_SWAPPED) and _exchanged(issue):
        return replace(issue, kind="swapped-size")
    if issue.kind == "missing-image" and (near := _near(Path(issue.file))):
        return replace(issue, text=f"{issue.text}; there is {near}")
    return issue


def _exchanged(issue: Issue) -> bool:
    """Whether the stated size of an image is its own with the sides exchanged."""
    try:
        upright, _ = image_sizes(issue.file)
    except DataError:
        return False
    return upright[0] != upright[1] and f"says {upright[0]}×{upright[1]} " in issue.text


def _near(path: Path) -> str:
    """A file of the same name but for case or suffix."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.stem.casefold() == path.stem.casefold()]
    except OSError:
        return ""
    return min(names, default="")
