"""torchvision's names of an EfficientNet classifier: everything is numbered, nothing named.

``features.0`` is the stem, ``features.1`` to ``features.n`` the stages, the last the 1x1 convolution before the
classifier; a block is a sequence of (convolution, norm) pairs with the squeeze-and-excitation between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from backbones.spec import BackboneSpec
from effdet.weights.layouts.modules import BACKBONE, CLASSIFIER, blocks, inverted, rename

T = TypeVar("T")

_LAYERS = {
    "mbconv": ("expand", "depthwise", "attention", "project"),
    "separable": ("depthwise", "attention", "project"),
    "fused": ("expand", "project"),
    "conv": ("conv",),
}


def matches(keys: Iterable[str]) -> bool:
    """Whether a file with these keys is in this layout."""
    known = set(keys)
    return "features.0.0.weight" in known and "features.1.0.block.0.0.weight" in known


def modules(spec: BackboneSpec) -> dict[str, str]:
    """Module prefixes, torchvision's -> ours."""
    table = _pair("features.0", f"{BACKBONE}stem")
    for block in blocks(spec):
        start = f"features.{block.stage + 1}.{block.index}.block."
        layers = [name for name in _LAYERS[block.op] if name != "attention" or block.attention != "none"]
        for number, layer in enumerate(layers):
            theirs, ours = f"{start}{number}", block.ours + layer
            if layer == "attention":
                table |= {f"{theirs}.fc1": f"{ours}.reduce", f"{theirs}.fc2": f"{ours}.expand"}
            else:
                table |= _pair(theirs, ours)
    table |= _pair(f"features.{len(spec.stages) + 1}", f"{CLASSIFIER}conv_head")
    table["classifier.1"] = f"{CLASSIFIER}classifier"
    return table


def _pair(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.0": f"{ours}.conv", f"{theirs}.1": f"{ours}.norm"}


def to_ours(state: Mapping[str, T], spec: BackboneSpec) -> dict[str, T]:
    """torchvision's state dict under our names."""
    return rename(state, modules(spec))


def from_ours(state: Mapping[str, T], spec: BackboneSpec) -> dict[str, T]:
    """Ours under torchvision's names."""
    return rename(state, inverted(modules(spec)))
