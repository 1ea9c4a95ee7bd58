"""Which of the ways to choose a model the overrides took: its name, phi, a model file, or its backbone."""

from __future__ import annotations

from typing import Any

from backbones.spec import ExternalSpec
from effdet.cli.config import Config
from effdet.model import read_model_file
from effdet.plugins import TARGET

FILE = "file"
"""The choice ``backbone=file``, which takes the backbone of ``backbone.path``."""


def chosen_model(config: Config) -> dict[str, Any]:
    """The arguments `name`, `backbone`, `phi` and `architecture` of :func:`effdet.model.spec_for`.

    Raises:
        UserError: the model file is not there or not one.
    """
    path = config.get("architecture.path")
    by_backbone = config.model is None and config.phi is None and path is None
    backbone = config.backbone.name if by_backbone else None
    if backbone is not None and (external := external_backbone(config)) is not None:
        backbone = external
    elif backbone == FILE:
        backbone = read_model_file(config.backbone.path).backbone
    return {
        "name": config.model,
        "backbone": backbone,
        "phi": config.phi,
        "architecture": None if path is None else read_model_file(path),
    }


def external_backbone(config: Config) -> ExternalSpec | None:
    """The network of timm, or the class of the user's own, that ``backbone`` names."""
    values: dict[str, Any] = config.get("backbone")
    name = str(values.pop("name"))
    if TARGET in values:
        return ExternalSpec("target", name, values)
    if values.pop("library", None) is None:
        return None
    return ExternalSpec("timm", name, {key: value for key, value in values.items() if value not in (None, {})})


def backbone_options(config: Config) -> dict[str, Any]:
    """Fields of the backbone that the overrides may change."""
    if external_backbone(config) is not None:
        return {}
    return {key: value for key, value in config.get("backbone").items() if key not in ("name", "path")}
