"""Named weights: what a user can ask for by name, where it is, what it must give, and how its pixels were made.

A name is ``ARCHITECTURE`` or ``ARCHITECTURE.TAG`` (timm's scheme), or ``OWNER/FILE``. The bare name of an
architecture stands for the row marked as its default. The rows are literal, in :mod:`effdet.weights.tables`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from backbones.spec import ExternalSpec
from effdet.hub import HubFile, sha256_of
from effdet.model import ModelSpec, build, spec_for
from effdet.model.external import survey
from effdet.weights.read import WeightsError
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


def locate(source: str | Path) -> tuple[Path, NamedWeights | None]:
    """The file of a path or of a name; a name that is not cached is fetched."""
    path = Path(source).expanduser()
    if path.exists():
        return path, None
    if (row := find(str(source))) is not None:
        return row.fetch(), row
    if isinstance(source, Path) or path.suffix in (".pth", ".pt", ".ckpt", ".safetensors", ".tflite", ".bin", ".tar"):
        raise WeightsError(f"{source} does not exist")
    get(str(source))
    raise AssertionError  # get() raised: the name is unknown


# ------------------------------------------------------------------------------------------------ what a training starts from

NOTHING = (None, "none")


@dataclass(frozen=True)
class ResolvedWeights:
    """One file on this machine, and what identifies it for the run's record."""

    path: Path
    sha256: str
    row: NamedWeights | None = None
    """The published file that it is, where it was found by name."""


def suitable(spec: ModelSpec) -> tuple[NamedWeights, ...]:
    """Published files for a model: those of the model itself, then those of its backbone, each the best result first."""
    if isinstance(spec.backbone, ExternalSpec):
        return timm_rows(spec.backbone)
    own = for_model(spec.name)
    return (*own, *(row for row in for_model(spec.backbone.name) if row not in own))


def resolve(spec: ModelSpec, weights: str | None, *, cached_only: bool = True) -> ResolvedWeights | None:
    """The file that `weights` means for a model.

    Args:
        spec: The model to start.
        weights: ``auto-cached`` and ``auto``: the best published file that is on this machine; ``none`` or None:
            nothing; else a path or a name, which is fetched if need be.
        cached_only: False lets ``auto`` (never ``auto-cached``) fetch the best where none is cached.

    Returns:
        None where training starts from random weights; :func:`random_warning` then says what would help.
    """
    if weights in NOTHING:
        return None
    if weights not in ("auto", "auto-cached"):
        assert weights is not None
        path, row = locate(weights)
        return ResolvedWeights(path, sha256_of(path), row)
    rows = suitable(spec)
    for row in rows:
        if (path := row.verified()) is not None:
            return ResolvedWeights(path, sha256_of(path), _named(row))
    if weights == "auto" and not cached_only and (fetchable := _fetchable(spec)):
        path = fetchable[0].fetch()
        return ResolvedWeights(path, sha256_of(path), _named(fetchable[0]))
    return None


def _named(row: NamedWeights) -> NamedWeights | None:
    """`row` if its name can be looked up; timm's cannot."""
    return row if find(row.name) is row else None


def timm_rows(backbone: ExternalSpec) -> tuple[NamedWeights, ...]:
    """Where timm keeps the weights of a network: its hub if it says one, else an address."""
    sources = survey(backbone).sources
    if not {"hf_hub_id", "url"} & set(sources):
        return ()
    url, hub_id = sources.get("url", ""), sources.get("hf_hub_id")
    hub_file = None if hub_id is None else HubFile(hub_id, sources.get("hf_hub_filename", "model.safetensors"))
    return (
        NamedWeights(
            name=backbone.name if hub_id is None else hub_id,
            model=backbone.name,
            layout="timm",
            file_name=url.rpartition("/")[2] if hub_file is None else f"{hub_id}/model.safetensors".replace("/", "--"),
            addresses=() if hub_file is not None else (url,),
            hub_file=hub_file,
            licence=sources.get("license", "licence not stated"),
        ),
    )


def require_weights(spec: ModelSpec) -> None:
    """Training on the user's images asks for a decision where weights for the model are published and none is on this machine.

    Raises:
        UserError: with the three ways to go on.
    """
    if resolve(spec, "auto-cached") is not None or not (fetchable := _fetchable(spec)):
        return
    with torch.device("meta"):
        numbers = sum(parameter.numel() for parameter in build(spec_for(fetchable[0].model)).parameters())
    raise UserError(
        f"none of the published weights for {spec.name} is on this machine; say what to start from:\n"
        f"  weights=auto   downloads {fetchable[0].name} (about {4e-6 * numbers:.0f} MB)\n"
        f"  weights=PATH   takes a file\n"
        f"  weights=none   random weights, which need many times the epochs and end lower"
    )


def _fetchable(spec: ModelSpec) -> list[NamedWeights]:
    return [row for row in suitable(spec) if row.addresses or row.hub_file]


def random_warning(spec: ModelSpec) -> str:
    """What to tell a user whose training starts from random weights."""
    fetchable = _fetchable(spec)
    start = f"{spec.name} starts from RANDOM weights: it needs many times the epochs and ends lower."
    if not fetchable:
        return f"{start} Nothing is published for it; weights=FILE takes a file of yours"
    return f"{start} weights=auto would fetch {fetchable[0].name}"
