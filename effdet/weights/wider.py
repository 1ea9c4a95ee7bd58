"""A file in a model that has more: other heads, and a neck that spans more levels.

A detector's weights fill the driving model that grew out of it. Neck nodes are named by level and direction, so whatever
fuses the same inputs fits; what the file cannot have is fresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

_WEIGHTS = ".fuse.weights"


def fresh_parts(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> frozenset[str]:
    """Keys of `own` that a file of `state` need not fill.

    These are heads of which the file has nothing, as long as it has another of the model's heads; where the model's neck
    spans the file's levels and more, nodes that the file has not, and shares of nodes with more inputs; and learned weights
    between several heads.
    """
    theirs, ours = _heads(state), _heads(own)
    if not theirs & ours:
        return frozenset()
    fresh = {key for key in own if key.startswith("heads.") and key.split(".")[1] not in theirs}
    fresh |= {key for key in own if key.startswith("balance.") and key not in state}
    if _levels(own) > _levels(state) > set():
        nodes = {_node(key) for key in state}
        for key in own:
            new_node = key.startswith("neck.cells.") and _node(key) not in nodes
            more_inputs = key.endswith(_WEIGHTS) and key in state and state[key].shape != own[key].shape
            if new_node or more_inputs:
                fresh.add(key)
    return frozenset(fresh)


def _heads(keys: Iterable[str]) -> set[str]:
    return {key.split(".")[1] for key in keys if key.startswith("heads.")}


def _levels(keys: Iterable[str]) -> set[str]:
    """Levels of the first cell, which has all nodes: ``neck.cells.0.td.P3.…``."""
    return {key.split(".")[4] for key in keys if key.startswith("neck.cells.0.")}


def _node(key: str) -> str:
    """``neck.cells.0.td.P3`` of any of its tensors."""
    return ".".join(key.split(".")[:5])
