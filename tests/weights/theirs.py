"""State dicts as other distributions name them: what :mod:`effdet.weights.layouts` reads, the other way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from backbones.spec import BackboneSpec
from effdet.weights.layouts import MODULES, Wiring, effdet_modules, rename

T = TypeVar("T")


def from_ours(state: Mapping[str, T], layout: str, spec: BackboneSpec) -> dict[str, T]:
    """Ours under the names of a layout of classifiers."""
    return rename(state, {ours: theirs for theirs, ours in MODULES[layout](spec).items()})


def effdet_from_ours(state: Mapping[str, T], found: Wiring, backbone: BackboneSpec) -> dict[str, T]:
    """Ours under the names of ``effdet``, in the order of BatchNorms that `found` asks for."""
    renamed = rename(state, {ours: theirs for theirs, ours in effdet_modules(found, backbone).items()})
    return {key.replace("combine.weights", "combine.edge_weights"): value for key, value in renamed.items()}
