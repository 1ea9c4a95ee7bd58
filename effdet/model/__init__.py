"""Models: describe, build, fold."""

from effdet.model.architecture import Architecture, HeadScaling
from effdet.model.balance import BalanceSpec, LossBalance
from effdet.model.build import build
from effdet.model.compose import heads_of, names, spec_for
from effdet.model.cost import Cost, count_cost
from effdet.model.file import read_model_file, write_model_file
from effdet.model.fold import FoldedModel, fold
from effdet.model.macs import count_macs
from effdet.model.spec import HeadSpec, ModelSpec
from effdet.model.vision_model import VisionModel

__all__ = [
    "Architecture",
    "BalanceSpec",
    "Cost",
    "FoldedModel",
    "HeadScaling",
    "HeadSpec",
    "LossBalance",
    "ModelSpec",
    "VisionModel",
    "build",
    "count_cost",
    "count_macs",
    "fold",
    "heads_of",
    "names",
    "read_model_file",
    "spec_for",
    "write_model_file",
]
