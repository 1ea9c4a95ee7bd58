"""What ONNX says otherwise than PyTorch: its NonMaxSuppression as a PyTorch operator, and padding as an attribute of a node.

PyTorch's convolutions pad both sides alike, so an asymmetric "same" is exported as Pad and Conv. ONNX's own Conv and MaxPool
take four pads: the same numbers, one copy of the image less, and no minus infinity for a quantiser to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from heads.detection import PostProcess


@torch.library.custom_op("effdet::nms_by_class", mutates_args=())
def nms_by_class(boxes: Tensor, scores: Tensor, limit: int, iou: float, score_threshold: float) -> Tensor:
    """Boxes (B, n, 4), scores (B, K, n) -> (m, 3) int64: image, class, box of each that is kept.

    Args:
        limit: kept of one class.
        iou: of two boxes that overlap by more, the better stays.
        score_threshold: boxes must score above it.
    """
    found = [boxes.new_zeros((0, 3), dtype=torch.int64)]
    for image in range(scores.shape[0]):
        for index in range(scores.shape[1]):
            own = (scores[image, index] > score_threshold).nonzero()[:, 0]
            kept = own[torchvision.ops.nms(boxes[image, own], scores[image, index, own], iou)[:limit]]
            rows = [torch.full_like(kept, image), torch.full_like(kept, index), kept]
            found.append(torch.stack(rows, dim=1))
    return torch.cat(found)


@nms_by_class.register_fake
def _(boxes: Tensor, scores: Tensor, limit: int, iou: float, score_threshold: float) -> Tensor:
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((kept, 3), dtype=torch.int64)


def onnx_nms(boxes: Tensor, scores: Tensor, groups: Tensor, count: int, settings: PostProcess) -> Tensor:
    """See :data:`effdet.export.suppression.Nms`. A box scores 0 in all groups but its own, so groups never meet."""
    batch, length = scores.shape
    by_group = torch.zeros((batch, count, length), dtype=scores.dtype, device=scores.device)
    by_group = by_group.scatter(1, groups[:, None], scores[:, None])
    threshold = settings.score_threshold
    least = math.nextafter(threshold, 0.0) if threshold > 0 else 0.0  # the operator drops what equals it
    kept = nms_by_class(boxes, by_group, settings.max_detections, settings.nms_iou, least)
    return kept[:, 0] * length + kept[:, 2]


def translations() -> dict[Any, Callable[..., Any]]:
    """What ``torch.onnx.export`` makes of the operator."""
    from onnxscript import opset18 as op

    def nms(boxes: Any, scores: Any, limit: int, iou: float, score_threshold: float) -> Any:
        limits: list[Any] = [op.Constant(value_ints=[limit])]
        limits += [op.Constant(value_floats=[iou]), op.Constant(value_floats=[score_threshold])]
        return op.NonMaxSuppression(boxes, scores, *limits)

    return {torch.ops.effdet.nms_by_class.default: nms}


FILL = {"Conv": 0.0, "MaxPool": -np.inf}
"""The value that a node's own padding stands for."""


def fold_pads(model: Any) -> int:
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
