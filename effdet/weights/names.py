"""Named weights: what a user can ask for by name, where it is, what it must give, and how its pixels were made.

A name is ``ARCHITECTURE`` or ``ARCHITECTURE.TAG`` (timm's scheme), or ``OWNER/FILE``. The bare name of an
architecture stands for the row marked as its default. The rows are literal, in :mod:`effdet.weights.tables`.
"""

from __future__ import annotations

import re
from functools import cache

from effdet.weights.rows import NamedWeights
from effdet.weights.tables import efficientdet, lukemelas, timm, torchvision
from heads.structures import UserError


@cache
def all_weights() -> tuple[NamedWeights, ...]:
    """Every row, detectors first."""
    return (*efficientdet.ROWS, *timm.ROWS, *torchvision.ROWS, *lukemelas.ROWS)


@cache
def _by_name() -> dict[str, NamedWeights]:
    rows = {row.name: row for row in all_weights()}
    return {row.model: row for row in reversed(all_weights()) if row.default} | rows


def find(name: str) -> NamedWeights | None:
    """The row of a name, or None. A bare architecture, also by its short name (``d0``, ``b3``), gives its default."""
    return _by_name().get(name) or _by_name().get(canonical(name))


def canonical(model: str) -> str:
    """The full name of an architecture: ``d0`` is ``tf_efficientdet_d0``, ``b3`` is ``tf_efficientnet_b3``; else itself."""
    from backbones.scaling import backbone_spec
    from effdet.scaling import detector_row

    if (detector := detector_row(model)) is not None:
        return detector.name
    try:
        return backbone_spec(model).name
    except ValueError:
        return model


def get(name: str) -> NamedWeights:
    """The row of a name, or a UserError with the nearest names."""
    if (row := find(name)) is not None:
        return row
    from difflib import get_close_matches

    near = get_close_matches(name, _by_name(), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "`effdet info` lists the names"
    raise UserError(f"{name!r} is neither a file nor the name of weights; {hint}")


def for_model(model: str) -> tuple[NamedWeights, ...]:
    """All rows of an architecture, the best published result first (rows without one come last)."""
    model = canonical(model)
    rows = [row for row in all_weights() if row.model == model]
    return tuple(sorted(rows, key=lambda row: -(row.result.value if row.result else 0.0)))


def recognise(file_name: str, sha256: str | None = None) -> NamedWeights | None:
    """The row that a file is, by its checksum (safest), its published name, or a stem that begins with a row's name."""
    if sha256 is not None:
        for row in all_weights():
            if row.sha256 and sha256.startswith(row.sha256):
                return row
    for row in all_weights():
        if row.file_name.lower() == file_name.lower():
            return row
    stem = re.sub(r"\.(pth|pt|bin|ckpt|safetensors|tflite|tar)\b", "", file_name)
    if (row := _by_name().get(re.sub(r"-[0-9a-f]{8}$", "", stem))) is not None:
        return row
    for name in sorted((row.name for row in all_weights()), key=len, reverse=True):
        if re.match(re.escape(name) + r"[-_.]", stem):
            return _by_name()[name]
    return None
