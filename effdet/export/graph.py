"""What is exported: pixels in, plain tensors out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from effdet.export.suppression import Suppression
from effdet.inference.exported import ANCHORS, DETECTIONS, ExportInfo
from effdet.model import FoldedModel
from heads.detection.head import DetectionOutput

COARSEST = 128
"""Pixels to a cell of the coarsest level (P7)."""


class ExportGraph(nn.Module):
    """The folded network between pixels and numbers; the order of its outputs is `outputs`.

    Args:
        model: folded, in the number format that it shall compute in.
        normalise: take uint8 pixels and normalise them; else take normalised float32.
        suppression: what a detection head's raw output goes through; None leaves it raw, with its boxes decoded.
        channels_last: normalise with the channels last, for a runtime that is handed its pictures so and convolves so.
    """

    def __init__(
        self, model: FoldedModel, *, normalise: bool, suppression: Suppression | None, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.normalise = normalise
        self.channels_last = channels_last
        self.suppression = suppression
        self.dtype = next(model.parameters()).dtype
        self.outputs = output_names(tuple(model.heads), nms=suppression is not None)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) uint8 or normalised float32 -> the tensors of `outputs`, float32 and int64."""
        found: list[Tensor] = []
        for output in self.model(self._normalised(images).to(self.dtype)).values():
            if not isinstance(output, DetectionOutput):
                found.append(output.float())
                continue
            logits, deltas = output.class_logits.float(), output.box_deltas.float()
            boxes = decode_by_products(output.anchors, deltas)  # in float32 whatever the network computes in
            found += [logits, boxes] if self.suppression is None else self.suppression(logits, boxes)
        return tuple(found)

    def _normalised(self, images: Tensor) -> Tensor:
        if not self.normalise:
            return images
        if not self.channels_last:
            return self.model.preprocess.normalise(images)
        return self.model.preprocess.normalise(images.permute(0, 2, 3, 1), channels_last=True).permute(0, 3, 1, 2)


def decode_by_products(anchors: Tensor, deltas: Tensor) -> Tensor:
    """:func:`heads.detection.boxes.decode`, (A, 4) and (B, A, 4) -> (B, A, 4) xyxy, as runtimes like it.

    They take columns of four apart and put them together one number at a time, which lasts longer than all the arithmetic.
    So ``ty tx th tw`` come to their places by a product with zeros and ones, which changes no finite number.
    """
    centres, sizes = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    centres, sizes = torch.cat([centres, centres], 1), torch.cat([sizes, sizes], 1)  # x y x y, w h w h
    nothing = [0.0, 0.0, 0.0, 0.0]
    shift = deltas @ anchors.new_tensor([[0, 1, 0, 1], [1, 0, 1, 0], nothing, nothing])  # tx ty tx ty
    growth = deltas @ anchors.new_tensor([nothing, nothing, [0, 1, 0, 1], [1, 0, 1, 0]])  # tw th tw th
    halves = sizes * anchors.new_tensor([-0.5, -0.5, 0.5, 0.5])
    return shift * sizes + centres + growth.exp() * halves


def output_names(heads: tuple[str, ...], *, nms: bool) -> tuple[str, ...]:
    """Names of the tensors in the graph's order, see :class:`effdet.inference.exported.ExportInfo`."""
    names: list[str] = []
    for head in heads:
        names += (DETECTIONS if nms else ANCHORS) if head == "detection" else (head,)
    return tuple(names)


def example(info: ExportInfo) -> Tensor:
    """Grey pictures of the shape that a file of `info` takes; any number is shown by two, as exporters specialise on one.

    So pictures of any size are large enough for two cells at the coarsest level.
    """
    size = info.spec.preprocess.size
    if info.dynamic_size:
        size = (max(size[0], 2 * COARSEST), max(size[1], 2 * COARSEST))
    shape = (2 if info.batch is None else info.batch, 3, *size)
    grey = torch.full(shape, 114, dtype=torch.uint8)
    return grey if info.normalise else info.spec.preprocess.normalise(grey)
