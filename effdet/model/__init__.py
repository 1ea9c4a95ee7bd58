"""Models: describe, build, fold."""

from effdet.model.architecture import Architecture, HeadScaling, read_model_file, write_model_file
from effdet.model.balance import BalanceSpec, LossBalance
from effdet.model.build import Cost, build, count_cost
from effdet.model.compose import heads_of, names, spec_for
from effdet.model.external import count_macs
from effdet.model.fold import FoldedModel, fold
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
