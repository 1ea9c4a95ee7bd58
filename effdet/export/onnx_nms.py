"""ONNX's NonMaxSuppression as a PyTorch operator, so that a graph with NMS can be exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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
        score: boxes must score above it.
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
    least = (
        math.nextafter(settings.score_threshold, 0.0) if settings.score_threshold > 0 else 0.0
    )  # the operator drops what equals it
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
