"""Names of release 0.1.0 and what they are called now: configuration keys, columns, and fields of files.

A key of the configuration is refused under its old name with a line that says the new one. What 0.1.0 wrote (runs,
checkpoints, model files, exported files, statistics, studies) is read through :func:`renew`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RENAMED: dict[str, str] = {
    # configuration, model descriptions, facts of a run
    "limit": "max_images",
    "score": "score_threshold",
    "head_epochs": "freeze_epochs",
    "data.head_epochs": "data.freeze_epochs",
    "optimizer.lr_per": "optimizer.base_batch_size",
    "anchors.octaves": "anchors.scales_per_octave",
    "loss.normaliser": "loss.normalizer",
    "postprocess.score": "postprocess.score_threshold",
    "gate.pictures": "gate.images",
    "calibration.pictures": "calibration.images",
    # metrics.csv, metrics.json
    "pictures_per_second": "images_per_second",
    "pictures": "images",
    # checkpoints
    "position": "resume_point",
    # statistics.npz, by head
    "statistics.picture": "statistics.image",
    "statistics.true_picture": "statistics.true_image",
    "statistics.pictures": "statistics.images",
    "values.pictures": "values.images",
}
"""Old name -> new name. A name without a dot stands at the top; one with a dot, anywhere below that section."""


def new_name(key: str) -> str | None:
    """The new name of the dotted `key`; None where it was not renamed."""
    *sections, last = key.split(".")
    found = RENAMED.get(f"{sections[-1]}.{last}" if sections else last)
    return None if found is None else ".".join([*sections, found.rpartition(".")[2]])


def renew(values: Mapping[str, Any], section: str | None = None) -> dict[str, Any]:
    """`values` with the keys of 0.1.0 under their new names, in all mappings inside too."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        old = str(key) if section is None else f"{section}.{key}"
        new = RENAMED[old].rpartition(".")[2] if old in RENAMED else key
        found[new] = renew(value, str(key)) if isinstance(value, Mapping) else value
    return found


def renew_overrides(overrides: Iterable[str]) -> list[str]:
    """``key=value`` overrides with their keys under the new names, sorted as they are recorded."""
    pairs = (item.partition("=") for item in overrides)
    return sorted(f"{new_name(key) or key}{equals}{value}" for key, equals, value in pairs)
