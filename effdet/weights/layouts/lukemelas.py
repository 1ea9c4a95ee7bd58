"""Names of the ``efficientnet_pytorch`` distribution and its Lite offspring (lukemelas/EfficientNet-PyTorch).

Blocks are numbered through, without stages. Networks: B0-B8 and Lite0-Lite4, with TensorFlow's padding and epsilon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from backbones.spec import BackboneSpec
from effdet.weights.layouts.modules import BACKBONE, CLASSIFIER, blocks, inverted, rename

T = TypeVar("T")

_EXPAND = {"_expand_conv": "expand.conv", "_bn0": "expand.norm"}
_REST = {
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_SQUEEZE = {"_se_reduce": "attention.reduce", "_se_expand": "attention.expand"}


def matches(keys: Iterable[str]) -> bool:
    """Whether a file with these keys is in this layout."""
    return "_conv_stem.weight" in set(keys)


def modules(spec: BackboneSpec) -> dict[str, str]:
    """Module prefixes, theirs -> ours."""
    table = {"_conv_stem": f"{BACKBONE}stem.conv", "_bn0": f"{BACKBONE}stem.norm"}
    for block in blocks(spec):
        layers = dict(_REST)
        if block.op == "mbconv":
            layers |= _EXPAND
        if block.attention == "se":
            layers |= _SQUEEZE
        for theirs, ours in layers.items():
            table[f"_blocks.{block.number}.{theirs}"] = block.ours + ours
    table |= {
        "_conv_head": f"{CLASSIFIER}conv_head.conv",
        "_bn1": f"{CLASSIFIER}conv_head.norm",
        "_fc": f"{CLASSIFIER}classifier",
    }
    return table


def to_ours(state: Mapping[str, T], spec: BackboneSpec) -> dict[str, T]:
    """Their state dict under our names."""
    return rename(state, modules(spec))


def from_ours(state: Mapping[str, T], spec: BackboneSpec) -> dict[str, T]:
    """Ours under their names."""
    return rename(state, inverted(modules(spec)))
