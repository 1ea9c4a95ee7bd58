"""TensorFlow's "same" padding without a pass over the image: a Pad becomes an attribute of the node behind it.

PyTorch's convolutions pad both sides alike, so an asymmetric "same" is exported as Pad and Conv. ONNX's own Conv and MaxPool
take four pads: the same numbers, one copy of the image less, and no minus infinity for a quantiser to measure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FILL = {"Conv": 0.0, "MaxPool": -np.inf}
"""The value that a node's own padding stands for."""


def absorb_pads(model: Any) -> int:
    """Change an ``onnx.ModelProto`` in place; returns how many Pads are gone. Those of unknown size stay."""
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        pad = makers.get(node.input[0]) if node.op_type in FILL else None
        pads = None if pad is None or pad.op_type != "Pad" else _spatial(pad, constants, FILL[node.op_type])
        if pad is None or pads is None:
            continue
        own = [attribute for attribute in node.attribute if attribute.name == "pads"]
        total = np.add(pads, list(own[0].ints) if own else [0, 0, 0, 0])
        for attribute in own:
            node.attribute.remove(attribute)
        node.attribute.append(onnx.helper.make_attribute("pads", total.tolist()))
        node.input[0] = pad.input[0]
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    idle = [node for node in graph.node if node.op_type == "Pad" and node.output[0] not in used]
    for node in idle:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return len(idle)


def _spatial(pad: Any, constants: dict[str, np.ndarray], fill: float) -> list[int] | None:
    """[top, left, bottom, right] of a Pad of (B, C, H, W) with `fill`; None where it does something else."""
    pads = constants.get(pad.input[1])
    value = constants.get(pad.input[2], np.array(np.nan)) if len(pad.input) > 2 and pad.input[2] else np.array(0.0)
    if (
        pads is None
        or len(pads) != 8
        or len(pad.input) > 3
        or value.item() != fill
        or any(pads[[0, 1, 4, 5]])
        or pads.min() < 0
    ):
        return None
    return [int(number) for number in pads[[2, 3, 6, 7]]]
