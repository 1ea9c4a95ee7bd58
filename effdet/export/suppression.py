"""Threshold, top-k and NMS as one graph without loops: the function of :func:`heads.detection.postprocess.postprocess`.

Only the suppression itself differs between formats: PyTorch's files call ``torchvision::nms``, ONNX has an operator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from heads.detection import PostProcess
from heads.structures import UserError

Nms = Callable[[Tensor, Tensor, Tensor, int, PostProcess], Tensor]
"""boxes (B, n, 4), scores (B, n), groups (B, n) in 0…G-1, G, settings -> positions in B * n of the kept, in any order."""


class Suppression(nn.Module):
    """Raw output with decoded boxes -> detections, padded to ``max_detections``.

    Args:
        named: for each logit whether it stands for a class.
        any_size: the number of anchors is not known while exporting.

    Raises:
        UserError: settings that no graph can hold.
    """

    classes: Tensor

    def __init__(self, settings: PostProcess, named: tuple[bool, ...], nms: Nms, *, any_size: bool) -> None:
        super().__init__()
        if settings.soft_nms:
            raise UserError("nms=true: soft_nms cannot be in the graph; export with nms=false, or with soft_nms=false")
        self.settings, self.nms, self.any_size = settings, nms, any_size
        self.all_named = all(named)
        self.register_buffer("classes", torch.tensor([index for index, name in enumerate(named) if name]))

    def forward(self, class_logits: Tensor, boxes: Tensor) -> list[Tensor]:
        """(B, A, K) and (B, A, 4) xyxy -> boxes (B, n, 4), scores (B, n) falling, labels (B, n), counts (B,)."""
        settings = self.settings
        if not self.all_named:
            class_logits = class_logits.index_select(2, self.classes)
        logits, anchor, group = self._candidates(class_logits)
        labels = group if self.all_named else self.classes[group]
        boxes, scores = _rows(boxes, anchor), logits.sigmoid()
        groups, count = (group, class_logits.shape[2]) if settings.per_class_nms else (torch.zeros_like(group), 1)
        kept = self.nms(boxes, scores, groups, count, settings)
        flags = torch.zeros_like(scores).flatten().scatter(0, kept, 1.0).view_as(scores)
        ranked = torch.where((flags > 0) & (scores >= settings.score_threshold), scores, -1.0)
        best, place = ranked.topk(min(settings.max_detections, self._limit(scores)), dim=1)
        real = best >= 0
        return [
            _rows(boxes, place) * real[..., None],
            torch.where(real, best, 0.0),
            torch.where(real, labels.gather(1, place), -1),
            real.sum(1),
        ]

    def _candidates(self, class_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The ``pre_nms`` largest: logits (B, n) falling, their anchors and classes.

        Two top-k: the largest entries all lie in the anchors with the largest maxima, which are far fewer to sort.
        """
        peaks, best = class_logits.max(2)  # (B, A)
        limit = self.settings.pre_nms
        if self.any_size:  # so that there are always as many as top-k wants
            peaks = torch.cat([peaks, peaks.new_full((1, limit), -1e4).expand(peaks.shape[0], -1)], dim=1)
        logits, anchor = peaks.topk(min(limit, self._limit(peaks)), dim=1)
        if self.any_size:
            anchor = torch.minimum(anchor, torch.full_like(anchor, 1) * (class_logits.shape[1] - 1))
        if not self.settings.multi_label:
            return logits, anchor, best.gather(1, anchor)
        classes = class_logits.shape[2]
        entries = _rows(class_logits, anchor)  # (B, n, K)
        if self.any_size:
            entries = torch.where(logits[..., None] > -1e4, entries, -1e4)
        top, place = entries.flatten(1).topk(min(limit, self._limit(logits) * classes), dim=1)
        return top, anchor.gather(1, torch.div(place, classes, rounding_mode="floor")), place % classes

    def _limit(self, values: Tensor) -> int:
        """Length of a row, where it is known."""
        return self.settings.pre_nms if self.any_size else values.shape[1]


def torch_nms(boxes: Tensor, scores: Tensor, groups: Tensor, count: int, settings: PostProcess) -> Tensor:
    """All images and classes in one call of ``torchvision::nms``.

    Each group is shifted to a separate place, in float64: there, unlike in float32, the shift changes no overlap.
    """
    import torchvision

    batch, length = scores.shape
    wide = boxes.double()
    span = wide.max() - wide.min() + 1.0
    group = torch.arange(batch, device=boxes.device)[:, None] * count + groups
    shifted = wide + (group.double() * span)[..., None]
    return torchvision.ops.nms(shifted.view(batch * length, 4), scores.double().flatten(), settings.nms_iou)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """values (B, N, C) at index (B, n) -> (B, n, C)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
