"""``statistics.npz``: what an evaluation found image by image, so that two of them can be compared without their data."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from effdet.files import replacing
from effdet.renamed import renew
from effdet.report.statistics.bootstrap import Statistic
from effdet.report.statistics.boxes import Matches
from effdet.report.statistics.samples import RECORDED, BoxStatistic
from heads.structures import UserError

FILE = "statistics.npz"
FORMAT = 1


@dataclass(frozen=True)
class SplitIdentity:
    """The images and labels that an evaluation was measured on."""

    data: str
    split: str
    fingerprint: str
    """sha256 of what the split labels."""

    def __str__(self) -> str:
        return f"{self.data} {self.split}"


@dataclass(frozen=True)
class Recorded:
    """What a file holds."""

    identity: SplitIdentity
    statistics: Mapping[str, Statistic]
    images: Mapping[str, Sequence[str]]
    """By head, the names of the images in their order."""


def write_statistics(path: Path, recorded: Recorded) -> Path:
    """Write `recorded` whole or not at all."""
    heads: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for head, statistic in recorded.statistics.items():
        kind = next((name for name, known in RECORDED.items() if isinstance(statistic, known)), None)
        if kind is None:
            continue  # of a kit's own class, which no reader of the file could find
        record: Any = statistic.matches if isinstance(statistic, BoxStatistic) else statistic
        values = {column.name: getattr(record, column.name) for column in fields(record)}
        arrays |= {f"{head}/{name}": value for name, value in values.items() if isinstance(value, np.ndarray)}
        rest = {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
        heads[head] = {"kind": kind, "values": rest, "images": list(recorded.images[head])}
    about = json.dumps({"format": FORMAT, "identity": asdict(recorded.identity), "heads": heads})
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, about=np.array(about), **arrays)  # type: ignore[arg-type]
    return path


def read_statistics(path: Path) -> Recorded:
    """Read what :func:`write_statistics` wrote.

    Raises:
        UserError: it is no such file, or of a later version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        version = about["format"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not the statistics of an evaluation ({error}); evaluate again") from error
    if version != FORMAT:
        raise UserError(f"{path}: written in format {version}, this version reads {FORMAT}; evaluate again")
    statistics: dict[str, Statistic] = {}
    entries = {head: renew(entry, "statistics") for head, entry in about["heads"].items()}
    for head, entry in entries.items():
        own = renew(
            {name.partition("/")[2]: value for name, value in arrays.items() if name.partition("/")[0] == head},
            "statistics",
        )
        values: dict[str, Any] = own | {
            key: tuple(v) if isinstance(v, list) else v for key, v in entry["values"].items()
        }
        if (kind := RECORDED.get(entry["kind"])) is None:
            raise UserError(f"{path}: {head} has statistics of kind {entry['kind']!r}, which nothing here has recorded")
        statistics[head] = BoxStatistic(Matches(**values)) if kind is BoxStatistic else kind(**values)
    return Recorded(
        SplitIdentity(**about["identity"]),
        statistics,
        {head: entry["images"] for head, entry in entries.items()},
    )


def find_statistics(directory: Path) -> Path:
    """The file of an evaluation's or a run's folder.

    Raises:
        UserError: there is none.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder; name a run, or a folder that `effdet evaluate` wrote")
    if not (directory / FILE).is_file():
        raise UserError(f"{directory}: holds no {FILE}; write it with effdet evaluate model={directory}")
    return directory / FILE


def shared_heads(first: Recorded, second: Recorded, names: tuple[str, str]) -> list[str]:
    """The heads that both were evaluated by.

    Raises:
        UserError: they were measured on different images, labels or classes.
    """
    if first.identity != second.identity:
        a, b = first.identity, second.identity
        raise UserError(
            f"{names[0]} was measured on {a} ({a.fingerprint[:12]}), {names[1]} on {b} ({b.fingerprint[:12]}): only "
            "evaluations of the same split with the same labels can be compared; evaluate one of them again"
        )
    heads = [head for head in first.statistics if head in second.statistics]
    if not heads:
        raise UserError(
            f"{names[0]} has {', '.join(first.statistics)}, {names[1]} has {', '.join(second.statistics)}: "
            "no head was measured in both"
        )
    for head in heads:
        if first.images[head] != second.images[head]:
            raise UserError(
                f"{head}: {names[0]} was measured on {len(first.images[head])} images, {names[1]} on other "
                f"{len(second.images[head])}; evaluate both without limit, on the same split"
            )
    return heads
