"""int8 after training: ranges of activations measured on images, weights quantised channel by channel.

QuantizeLinear and DequantizeLinear nodes are laid round the layers (the "QDQ" form, which ONNX Runtime and OpenVINO both
read). What lies before the first convolution (normalising) and from the last layers on (logits, box decoding, NMS) stays in
float: small rounding there moves every score and box, and it is a small part of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from effdet.export.graph import quiet
from effdet.inference.exported import INPUT, ExportInfo

INNER = (
    "Conv",
    "Add",
    "Mul",
    "Clip",
    "Relu",
    "Sigmoid",
    "HardSigmoid",
    "MaxPool",
    "GlobalAveragePool",
    "ReduceMean",
    "Resize",
)
"""Operators that are quantised where they lie between two layers."""
LAYERS = ("Conv", "MatMul", "Gemm")


def quantise(model: Any, images: Tensor, info: ExportInfo, *, directory: Path, in_float: Collection[str] = ()) -> Any:
    """An ``onnx.ModelProto`` in float32 -> one in int8.

    Args:
        images: (N, 3, H, W) uint8, on the canvas.
        directory: for files on the way.
        in_float: operators of `INNER` that the runtime is faster without.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    inner = inner_nodes(model, in_float=in_float)
    target = directory / "quantised.onnx"
    with quiet():
        quantize_static(
            model,
            str(target),
            _reader(images, info),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=[name for name in INNER if name not in in_float],
            nodes_to_quantize=inner,
        )
    quantised = onnx.load(str(target))
    target.unlink()
    return quantised


def inner_nodes(model: Any, *, in_float: Collection[str] = ()) -> list[str]:
    """Names of the nodes between the first layers and the last ones: those that have a layer before or at, and one after."""
    requested = set(INNER) - set(in_float)
    nodes = list(model.graph.node)  # in topological order, as ONNX demands
    movers = {item.name for item in model.graph.initializer if tuple(item.dims) == (4, 4)}  # they only move box deltas
    layers = {node.name for node in nodes if node.op_type in LAYERS and movers.isdisjoint(node.input)}
    after_layer: set[str] = set()  # tensors behind a layer
    behind: set[str] = set()  # nodes at or behind a layer
    for node in nodes:
        if node.name in layers or any(name in after_layer for name in node.input):
            behind.add(node.name)
            after_layer.update(node.output)
    before_layer: set[str] = set()  # tensors that a layer is still to come behind
    inner = []
    for node in reversed(nodes):
        ahead = any(name in before_layer for name in node.output)
        if node.name in layers or ahead:
            before_layer.update(node.input)
        if ahead and node.name in behind and node.op_type in requested:
            inner.append(node.name)
    return inner[::-1]


def _reader(images: Tensor, info: ExportInfo) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = _feeds(images, info)

        def get_next(self) -> Any:
            return next(self._feeds, None)

    return Reader()


def _feeds(images: Tensor, info: ExportInfo) -> Iterator[dict[str, Any]]:
    """One image at a time, so that measuring all activations takes little memory; the batch's shape is filled with it."""
    size = info.batch or 1
    for image in images:
        batch = image[None].expand(size, -1, -1, -1)
        values = batch if info.normalise else info.spec.preprocess.normalise(batch)
        yield {INPUT: values.contiguous().numpy()}
