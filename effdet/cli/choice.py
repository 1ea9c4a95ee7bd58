"""Which of the ways to choose a model the words took: its name, phi, a model file, or its backbone."""

from __future__ import annotations

from typing import Any

from effdet.cli.config import Config
from effdet.model import read_model_file

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
    if backbone == FILE:
        backbone = read_model_file(config.backbone.path).backbone
    return {
        "name": config.model,
        "backbone": backbone,
        "phi": config.phi,
        "architecture": None if path is None else read_model_file(path),
    }


def backbone_options(config: Config) -> dict[str, Any]:
    """Fields of the backbone that the words may change."""
    return {key: value for key, value in config.get("backbone").items() if key not in ("name", "path")}
