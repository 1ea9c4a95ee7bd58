"""The architectures that `scale` starts from: of a phi, of a backbone's name, of a model file."""

from __future__ import annotations

from dataclasses import replace

from backbones.scaling import backbone_spec, phi_spec
from effdet.cli.assemble import model_spec
from effdet.cli.choice import chosen_model
from effdet.cli.config import Config
from effdet.model import Architecture, ModelSpec
from effdet.model.compose import TASK_HEADS
from effdet.model.head_specs import PICTURE_HEADS
from effdet.scaling import detector_phi, row_for_backbone
from heads.structures import UserError


def of_phi(training: Config, phi: float) -> Architecture:
    """Published scaling, with the input size that the task takes at `phi`, or that of ``image_size=``."""
    trunk = phi_spec(phi)
    name = trunk.name if phi != int(phi) or phi < 0 else f"phi{phi:g}"
    return _sized(training, Architecture.of_row(detector_phi(phi), trunk, name=name))


def base_of(config: Config) -> Architecture:
    """What the words choose as the base: ``base_phi=``, ``architecture.path=``, else ``backbone=``.

    Raises:
        UserError: a published model by name, whose parts are not one of ours to scale.
    """
    training = training_of(config)
    if config.base_phi is not None:
        return of_phi(training, config.base_phi)
    choice = chosen_model(training)
    if choice["name"] is not None or choice["phi"] is not None:
        raise UserError("the base is chosen by backbone=, architecture.path= or base_phi=, not by model=")
    if (architecture := choice["architecture"]) is not None:
        size = spec_of(training, architecture).preprocess.size  # image_size=, else the file's
        return replace(architecture, image_size=size)
    backbone = choice["backbone"]
    if not isinstance(backbone, str):
        return _sized(training, Architecture.of_row(detector_phi(0), backbone, name=backbone.name))
    trunk = backbone_spec(backbone)
    return _sized(training, Architecture.of_row(row_for_backbone(trunk.name), trunk, name=trunk.name))


def training_of(config: Config) -> Config:
    """The configuration of the trainings: the words that were handed on."""
    return Config(config.get("train"))


def spec_of(training: Config, architecture: Architecture, num_classes: int | None = None) -> ModelSpec:
    """The model of `architecture` for the task and under the words of `training`."""
    return model_spec(training, architecture=architecture, num_classes=num_classes)


def _sized(training: Config, architecture: Architecture) -> Architecture:
    pictures = set(TASK_HEADS[training.task.name]) <= set(PICTURE_HEADS)
    if pictures:
        side = architecture.backbone.image_size
        architecture = replace(architecture, image_size=(side, side))
    return replace(architecture, image_size=spec_of(training, architecture).preprocess.size)
