"""Which layout a file is in, told from its keys alone, and its tensors under our names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from backbones.spec import BackboneSpec
from effdet.weights.layouts import effdet, lukemelas, timm, torchvision
from effdet.weights.layouts.modules import BACKBONE
from effdet.weights.read import WeightsError

OURS = "ours"
LAYOUTS = (OURS, "effdet", "timm", "torchvision", "lukemelas")


def detect_layout(keys: Iterable[str]) -> str:
    """One of ``LAYOUTS``.

    Raises:
        WeightsError: the keys are of no layout that can be read.
    """
    known = list(keys)
    if any(key.startswith((f"{BACKBONE}stem.", "stem.conv.")) for key in known):
        return OURS
    for name, layout in (("effdet", effdet), ("timm", timm), ("torchvision", torchvision), ("lukemelas", lukemelas)):
        if layout.matches(known):
            return name
    shown = ", ".join(known[:3])
    raise WeightsError(
        f"its keys ({shown}, …) are of no layout that can be read; known are EfficientNet and EfficientDet weights of "
        "timm, torchvision, lukemelas, effdet, EfficientDet-Lite .tflite and our own"
    )


def to_ours(state: Mapping[str, Tensor], layout: str, backbone: BackboneSpec) -> dict[str, Tensor]:
    """The tensors under the names of :class:`effdet.model.VisionModel`; unknown keys keep their own name."""
    if layout == OURS:
        bare = any(key.startswith("stem.conv.") for key in state)  # a backbone saved by itself
        return {BACKBONE + key: value for key, value in state.items()} if bare else dict(state)
    if layout == "effdet":
        return effdet.to_ours(state, backbone)
    if layout == "timm":
        return timm.to_ours(state, backbone)
    if layout == "torchvision":
        return torchvision.to_ours(state, backbone)
    return lukemelas.to_ours(state, backbone)
