"""What is exported: pixels in, plain tensors out; and the ``torch.export`` program of it, which most formats start from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from effdet.export.suppression import Suppression
from effdet.inference.exported import ExportInfo
from effdet.model import FoldedModel
from effdet.tasks import kits_of
from effdet.tasks.kit import raw_tensors

COARSEST = 128
"""Pixels to a cell of the coarsest level (P7)."""


class ExportGraph(nn.Module):
    """The folded network between pixels and numbers; the order of its outputs is that of :func:`output_names`.

    Args:
        model: folded, in the number format that it shall compute in.
        normalise: take uint8 pixels and normalise them; else take normalised float32.
        suppression: what a detection head's raw output goes through; None leaves it raw, with its boxes decoded.
        channels_last: normalise with the channels last, for a runtime that is handed its images so and convolves so.
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
        self.kits = kits_of(model)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) uint8 or normalised float32 -> the tensors that :func:`output_names` names, float32 and int64."""
        found: list[Tensor] = []
        outputs = self.model(self._normalised(images).to(self.dtype))
        for name, kit in self.kits.items():
            found += kit.to_graph(outputs[name], self.suppression)
        return tuple(found)

    def _normalised(self, images: Tensor) -> Tensor:
        if not self.normalise:
            return images
        if not self.channels_last:
            return self.model.preprocess.normalise(images)
        return self.model.preprocess.normalise(images.permute(0, 2, 3, 1), channels_last=True).permute(0, 3, 1, 2)


def output_names(model: FoldedModel, info: ExportInfo) -> tuple[str, ...]:
    """Names of the tensors in the graph's order. A head whose kit doesn't name them is computed once."""
    kits = kits_of(model)
    named = {name: kit.graph_outputs(model.heads[name], nms=info.nms) for name, kit in kits.items()}
    if None in named.values():
        images = example(info)
        images = model.preprocess.normalise(images) if info.normalise else images
        with torch.no_grad():
            outputs = model(images.to(next(model.parameters()).dtype))
        named |= {name: tuple(raw_tensors(name, outputs[name])) for name, known in named.items() if known is None}
    return tuple(part for names in named.values() for part in names or ())


def example(info: ExportInfo) -> Tensor:
    """Grey images of the shape that a file of `info` takes; any number is shown by two, as exporters specialise on one.

    So images of any size are large enough for two cells at the coarsest level.
    """
    size = info.spec.preprocess.size
    if info.dynamic_size:
        size = (max(size[0], 2 * COARSEST), max(size[1], 2 * COARSEST))
    shape = (2 if info.batch is None else info.batch, 3, *size)
    grey = torch.full(shape, 114, dtype=torch.uint8)
    return grey if info.normalise else info.spec.preprocess.normalise(grey)


def export_program(graph: ExportGraph, info: ExportInfo) -> torch.export.ExportedProgram:
    """Record `graph` for the shapes that `info` promises."""
    dynamic = torch.export.Dim.DYNAMIC
    axes: dict[int, Any] = {}
    if info.batch is None:
        axes[0] = dynamic
    if info.dynamic_size:
        axes |= {2: dynamic, 3: dynamic}
    with torch.no_grad(), quiet():
        return torch.export.export(graph, (example(info),), dynamic_shapes=(axes,) if axes else None, strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' notes to their own developers."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
