"""A writer of ``.tflite`` files as Google's EfficientDet-Lite are laid out: names, operators, quantisation, anchors, labels."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from effdet.model import VisionModel
from effdet.necks.topology import topology
from heads.detection import anchors

_CODES = {"ADD": 0, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "TFLite_Detection_PostProcess": 32}
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 2, np.dtype(np.uint8): 3, np.dtype(np.int8): 9}


@dataclass
class Graph:
    """Tensors and operators, in the order in which they run."""

    tensors: list[tuple[str, tuple[int, ...], np.dtype, np.ndarray | None, np.ndarray, np.ndarray, int]] = field(
        default_factory=list
    )
    operators: list[tuple[str, list[int], list[int]]] = field(default_factory=list)
    int8: bool = True

    def tensor(
        self, name: str, shape: Sequence[int], data: np.ndarray | None = None, *, scale=(), zero=(), axis=0
    ) -> int:
        dtype = np.dtype(np.int8) if data is None else data.dtype
        scales, zeros = np.asarray(scale, np.float32).reshape(-1), np.asarray(zero, np.int64).reshape(-1)
        self.tensors.append((name, tuple(shape), dtype, data, scales, zeros, axis))
        return len(self.tensors) - 1

    def convolution(self, name: str, weight: np.ndarray, bias: np.ndarray, *, depthwise: bool) -> None:
        """`weight`: (out, in / groups, k, k) float32, stored with a step for each output channel, or as it is."""
        order, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
        if self.int8:
            steps = np.abs(weight).max((1, 2, 3)) / 127
            steps = np.where(steps > 0, steps, 1).astype(np.float32)
            stored = np.round(weight / steps[:, None, None, None]).astype(np.int8).transpose(order)
        else:
            steps, stored = np.zeros(0, np.float32), weight.astype(np.float32).transpose(order)
        zero = np.zeros(len(steps))
        kernel = self.tensor(f"{name}/w", stored.shape, np.ascontiguousarray(stored), scale=steps, zero=zero, axis=axis)
        shift = self.tensor(f"{name}/b", bias.shape, bias.astype(np.float32))
        out = self.tensor(name, (1, 1, 1, len(bias)))
        self.operators.append(("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [0, kernel, shift], [out]))

    def add(self, name: str) -> None:
        self.operators.append(("ADD", [0, 0], [self.tensor(name, (1, 1, 1, 1))]))


def write_lite(
    path: Path, model: VisionModel, number: int, *, labels: Sequence[str] | None = None, int8: bool = True
) -> Path:
    """Write an EfficientDet-Lite as Google writes them, with the function that `model` has in evaluation mode.

    Args:
        number: of the EfficientNet-Lite, as its names have it.
        labels: of the label file; None writes none.
        int8: as Google's weights are; else float32, which other tools of TensorFlow's write.
    """
    graph, (height, width) = Graph(int8=int8), model.preprocess.size
    graph.tensor("serving_default_images:0", (1, height, width, 3), None, scale=[1 / 128], zero=[127])
    graph.tensors[0] = (
        "serving_default_images:0",
        (1, height, width, 3),
        np.dtype(np.uint8),
        None,
        *graph.tensors[0][4:],
    )
    _backbone(graph, model, f"efficientnet-lite{number}")
    _neck(graph, model)
    _heads(graph, model)
    head = model.heads["detection"]
    sizes, size = [], (height, width)
    for level in range(1, 8):
        size = (-(-size[0] // 2), -(-size[1] // 2))
        if level >= 3:
            sizes.append(size)
    boxes = anchors(sizes, (height, width), head.anchor_spec).numpy().astype(np.float64)
    centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    stored = np.concatenate([centre[:, ::-1], side[:, ::-1]], 1) / (height, width, height, width)
    held = graph.tensor("anchors", stored.shape, stored.astype(np.float32))
    out = graph.tensor("StatefulPartitionedCall:3", (1, 25, 4))
    graph.operators.append(("TFLite_Detection_PostProcess", [0, 0, held], [out]))
    data = _serialised(graph, [0], [out])
    if labels is not None:
        archive = io.BytesIO(data)
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr("labelmap.txt", "\n".join(labels) + "\n")
        data = archive.getvalue()
    path.write_bytes(data)
    return path


def _numbers(tensor: torch.Tensor | None, like: int = 0) -> np.ndarray:
    return np.zeros(like) if tensor is None else tensor.detach().double().numpy()


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    gain = _numbers(norm.weight) / np.sqrt(_numbers(norm.running_var) + norm.eps)
    bias = (_numbers(conv.bias, len(gain)) - _numbers(norm.running_mean)) * gain + _numbers(norm.bias)
    return (_numbers(conv.weight) * gain[:, None, None, None]).astype(np.float32), bias


def _backbone(graph: Graph, model: VisionModel, name: str) -> None:
    stem = model.backbone.stem
    graph.convolution(f"{name}/stem/Relu6;rest", *_folded(stem.conv, stem.norm), depthwise=False)
    number = 0
    for stage in model.backbone.stages:
        for index, block in enumerate(stage):
            place = f"{name}/blocks_{number}/"
            for part in ("expand", "depthwise", "project"):
                if (layer := getattr(block, part, None)) is not None:
                    depthwise = part == "depthwise"
                    graph.convolution(f"{place}{part};rest", *_folded(layer.conv, layer.norm), depthwise=depthwise)
            if index:
                graph.add(f"{place}Add")
            number += 1


def _neck(graph: Graph, model: VisionModel) -> None:
    extra = model.neck.get_submodule("extra.P6")
    graph.convolution("resample_p6/conv2d/BiasAdd;rest", *_folded(extra.conv, extra.norm), depthwise=False)
    levels = model.neck.spec.levels
    for cell, nodes in enumerate(model.neck.cells):
        for node, row in enumerate(topology(model.neck.spec.kind, levels)):  # in Google's order
            module, place = nodes.get_submodule(row.name), f"fpn_cells/cell_{cell}/fnode{node}/"
            for level, lateral in module.laterals.items():
                weights = _folded(lateral.conv, lateral.norm)
                graph.convolution(f"{place}resample_0_{levels.index(level)}_9/x;rest", *weights, depthwise=False)
            folded = _folded(module.conv.pointwise, module.norm)
            _separable(graph, f"{place}op_after_combine{9 + node}/x;rest", module.conv, folded)


def _separable(graph: Graph, name: str, conv: nn.Module, pointwise: tuple[np.ndarray, np.ndarray]) -> None:
    depthwise = _numbers(conv.depthwise.weight).astype(np.float32)
    graph.convolution(name, depthwise, np.zeros(len(depthwise)), depthwise=True)
    graph.convolution(name, *pointwise, depthwise=False)


def _heads(graph: Graph, model: VisionModel) -> None:
    head = model.heads["detection"]
    for kind, net in (("class", head.class_net), ("box", head.box_net)):
        for number, level in enumerate(net.levels, start=3):
            for repeat, (conv, norms) in enumerate(zip(net.convs, net.norms, strict=True)):
                name = f"{kind}_net/{kind}-{repeat}/x;{kind}_net/{kind}-{repeat}-bn-{number}/y"
                _separable(graph, name, conv, _folded(conv.pointwise, norms[level]))
            last = net.predict.pointwise
            weights = _numbers(last.weight).astype(np.float32), _numbers(last.bias)
            _separable(graph, f"{kind}_net/{kind}-predict/x", net.predict, weights)


def _serialised(graph: Graph, inputs: list[int], outputs: list[int]) -> bytes:
    from tests.weights.test_flatbuffer import Writer

    writer = Writer()
    model, slots = writer.table({0: ("<I", 3), 1: ("<I", None), 2: ("<I", None), 4: ("<I", None)})
    struct.pack_into("<I", writer.data, 0, model)
    codes = sorted(_CODES, key=lambda name: _CODES[name])
    for slot, name in zip(writer.tables(slots[1], len(codes)), codes, strict=True):
        number = _CODES[name]
        custom = {1: ("<I", None)} if number == 32 else {}
        table, fields = writer.table({0: ("<b", number), **custom, 3: ("<i", number)})
        writer.point(slot, table)
        if custom:
            writer.vector(fields[1], np.frombuffer(name.encode(), np.uint8))
    (place,) = writer.tables(slots[2], 1)
    subgraph, parts = writer.table(dict.fromkeys(range(4), ("<I", None)))
    writer.point(place, subgraph)
    for number, (slot, row) in enumerate(zip(writer.tables(parts[0], len(graph.tensors)), graph.tensors, strict=True)):
        name, shape, dtype, _, scale, zero, axis = row
        table, fields = writer.table(
            {0: ("<I", None), 1: ("<b", _TYPES[dtype]), 2: ("<I", number), 3: ("<I", None), 4: ("<I", None)}
        )
        writer.point(slot, table)
        writer.vector(fields[0], np.array(shape, np.int32))
        writer.vector(fields[3], np.frombuffer(name.encode(), np.uint8))
        steps, places = writer.table({2: ("<I", None), 3: ("<I", None), 6: ("<i", axis)})
        writer.point(fields[4], steps)
        writer.vector(places[2], scale)
        writer.vector(places[3], zero)
    writer.vector(parts[1], np.array(inputs, np.int32))
    writer.vector(parts[2], np.array(outputs, np.int32))
    for slot, (kind, ins, outs) in zip(writer.tables(parts[3], len(graph.operators)), graph.operators, strict=True):
        table, fields = writer.table({0: ("<I", codes.index(kind)), 1: ("<I", None), 2: ("<I", None)})
        writer.point(slot, table)
        writer.vector(fields[1], np.array(ins, np.int32))
        writer.vector(fields[2], np.array(outs, np.int32))
    for slot, row in zip(writer.tables(slots[4], len(graph.tensors)), graph.tensors, strict=True):
        table, fields = writer.table({} if row[3] is None else {0: ("<I", None)})
        writer.point(slot, table)
        if row[3] is not None:
            writer.vector(fields[0], np.frombuffer(row[3].tobytes(), np.uint8))
    return bytes(writer.data)
