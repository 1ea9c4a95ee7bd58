"""The trainings of `scale` and `search`: what the overrides mean to a study of :mod:`effdet.search`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backbones.scaling import backbone_spec, phi_spec
from backbones.spec import ExternalSpec
from effdet.cli.assemble import model_spec, torch_device, with_monitor
from effdet.cli.config import Config
from effdet.cli.model_choice import chosen_model
from effdet.cli.overrides import Overrides
from effdet.cli.resume import candidate_overrides, split
from effdet.model import Architecture, ModelSpec
from effdet.scaling import detector_phi, row_for_backbone
from effdet.search.jobs import Trainings
from effdet.training.monitor import monitor_name
from heads.structures import UserError

PRELOAD = ("effdet.cli.commands.train",)
"""What every training imports."""
QUIET = {"progress": "false", "logger": "null", "report": "false", "preflight": "false", "weights": "none"}
"""Overrides of a training that is one of many, where the user says nothing else."""


def train(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """Trains as ``effdet train OVERRIDES``; returns the metrics of the last evaluation."""
    from effdet.cli import api

    return api.train(list(overrides)).metrics


def trainings(command: str, config: Config, overrides: Overrides) -> Trainings:
    """Those of `command` (``scale`` or ``search``), whose configuration holds theirs as the section ``train``."""
    training = training_of(config)
    _, rest = split(command, overrides)
    return Trainings(
        base=lambda: _base(config, training),
        published=lambda phi: _published(training, phi),
        spec=lambda architecture: model_spec(training, architecture=architecture, num_classes=config.num_classes),
        overrides=lambda chosen: candidate_overrides(command, overrides, chosen, unless=QUIET),
        described=rest.shown(),
        run=train,
        task=training.task.name,
        metric=monitor_name(with_monitor(training).task.monitor),
        seed=training.seed,
        device=torch_device(training.device),
        progress=training.progress,
        preload=PRELOAD,
    )


def training_of(config: Config) -> Config:
    """The configuration of the trainings."""
    return Config(config.get("train"))


def _published(training: Config, phi: float) -> Architecture:
    backbone = phi_spec(phi)
    name = backbone.name if phi != int(phi) or phi < 0 else f"phi{phi:g}"
    return _sized(training, Architecture.of_row(detector_phi(phi), backbone, name=name))


def _base(config: Config, training: Config) -> Architecture:
    """What the overrides choose as the base: ``base_phi=``, ``architecture.path=``, else ``backbone=``.

    Raises:
        UserError: a published model by name, whose parts are not one of ours to scale.
    """
    if config.base_phi is not None:
        return _published(training, config.base_phi)
    choice = chosen_model(training)
    if choice["name"] is not None or choice["phi"] is not None:
        raise UserError("the base is chosen by backbone=, architecture.path= or base_phi=, not by model=")
    if (architecture := choice["architecture"]) is not None:
        size = _spec(training, architecture).preprocess.size  # image_size=, else the file's
        return replace(architecture, image_size=size)
    backbone = choice["backbone"]
    if isinstance(backbone, ExternalSpec):
        raise UserError(
            f"backbone={backbone.name}: only backbones of ours have stages to scale; `effdet info` lists them"
        )
    if not isinstance(backbone, str):
        return _sized(training, Architecture.of_row(detector_phi(0), backbone, name=backbone.name))
    spec = backbone_spec(backbone)
    return _sized(training, Architecture.of_row(row_for_backbone(spec.name), spec, name=spec.name))


def _spec(training: Config, architecture: Architecture) -> ModelSpec:
    return model_spec(training, architecture=architecture)


def _sized(training: Config, architecture: Architecture) -> Architecture:
    if _spec(training, architecture).neck is None:
        side = architecture.backbone.image_size
        architecture = replace(architecture, image_size=(side, side))
    return replace(architecture, image_size=_spec(training, architecture).preprocess.size)
