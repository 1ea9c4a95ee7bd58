"""Slips in the keys of a YOLO set's ``data.yaml``: one that is misspelt, and a number of classes that its names contradict."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from effdet.data.checks import Findings
from effdet.data.spec import SPLIT_DIRS
from effdet.files.scalars import whole

KNOWN = ("names", "path", "kpt_shape", *(key for keys in SPLIT_DIRS.values() for key in keys))


def misspelt(keys: Iterable[Any]) -> dict[str, str]:
    """Keys that are none of ours, and the known one that each is near to, where the file lacks that one.

    Other keys are no fault: exporters add their own.
    """
    texts = [key for key in keys if isinstance(key, str)]
    lacking = [key for key in KNOWN if key not in texts]
    near = {key: difflib.get_close_matches(key.lower(), lacking, n=1, cutoff=0.75) for key in texts if key not in KNOWN}
    return {key: found[0] for key, found in near.items() if found}


def check_keys(values: Mapping[str, Any], names: Sequence[str], file: Path, findings: Findings) -> None:
    """Warns of keys that are not read since they are misspelt, and of ``nc`` (darknet: ``classes``) beside other names."""
    for key, meant in misspelt(values).items():
        findings.warning("misspelt-key", file, f"key {key} is not read: {meant} is meant?")
    stated = values.get("nc", values.get("classes") if file.suffix.lower() == ".data" else None)
    count = whole(stated)
    if count is not None and count != len(names):
        text = f"says {count} classes, and names {len(names)}: the names are taken"
        findings.warning("class-count", file, text)
