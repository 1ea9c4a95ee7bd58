"""Models: describe, build, fold."""

from effdet.model.balance import BalanceSpec, LossBalance
from effdet.model.build import build
from effdet.model.compose import names, spec_for
from effdet.model.fold import FoldedModel, fold
from effdet.model.spec import HeadSpec, ModelSpec
from effdet.model.vision_model import VisionModel

__all__ = [
    "BalanceSpec",
    "FoldedModel",
    "HeadSpec",
    "LossBalance",
    "ModelSpec",
    "VisionModel",
    "build",
    "fold",
    "names",
    "spec_for",
]
