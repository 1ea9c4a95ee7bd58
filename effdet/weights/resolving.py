"""What a training starts from: ``weights=auto-cached``, ``auto``, ``none``, a name or a path, as one recorded file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from backbones.spec import ExternalSpec
from effdet.hub import HubFile, sha256_of
from effdet.model import ModelSpec, build, spec_for
from effdet.model.external import survey
from effdet.weights import names
from effdet.weights.loading import locate
from effdet.weights.rows import NamedWeights
from heads.structures import UserError

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
    own = names.for_model(spec.name)
    return (*own, *(row for row in names.for_model(spec.backbone.name) if row not in own))


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
    return row if names.find(row.name) is row else None


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
