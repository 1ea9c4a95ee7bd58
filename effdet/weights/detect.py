"""Which layout a file is in, reported from its keys alone, and its tensors under our names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

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


def external_state(state: Mapping[str, Tensor], backbone: nn.Module) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """For a backbone that is not ours: the layout, the tensors under the names of a VisionModel, and keys of no use to it.

    A file is one of ours (a whole model, or the backbone by itself), or the file of a whole network of timm.
    """
    if any(key.startswith(BACKBONE) for key in state):
        return OURS, dict(state), ()
    if set(state) & set(backbone.state_dict()):
        return OURS, {BACKBONE + key: value for key, value in state.items()}, ()
    if isinstance(backbone, SupportsOwnKey):
        found = {key: backbone.own_key(key) for key in state}
        if any(found.values()):
            tensors = {BACKBONE + own: state[key] for key, own in found.items() if own is not None}
            return "timm", tensors, tuple(key for key, own in found.items() if own is None)
    shown = ", ".join(list(state)[:3])
    raise WeightsError(f"its keys ({shown}, …) are not those of the backbone, a {type(backbone).__name__}")


@runtime_checkable
class SupportsOwnKey(Protocol):
    """See :meth:`backbones.timm.TimmBackbone.own_key`."""

    def own_key(self, key: str) -> str | None: ...


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
