"""Google's int8 EfficientDet-Lite ``.tflite`` files -> the ``effdet`` layout, dequantised to float32.

The file is a graph whose BatchNorms are folded into convolutions. Each convolution is reported by the names that TensorFlow
left on its output (``fpn_cells/cell_0/fnode1/…``), and gets a BatchNorm back that multiplies by one and adds the folded bias.

The heads share a convolution over the levels and have a BatchNorm for each level, so the file holds one pointwise matrix
for each level: row o of level l is ``gamma[l, o] * W[o, :]``. That is a rank-one matrix for each output channel o; its best
rank-one fit, in units of each level's own quantisation step, gives W and gamma back. What the fit leaves over is reported.

Activations stay float: the int8 rounding between layers is not imitated.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from effdet.scaling import PAPER_ASPECTS, ROOT_ASPECTS
from effdet.weights.flatbuffer import FlatbufferError, LiteGraph, LiteOperator, LiteTensor, read_graph
from effdet.weights.folded import shared_over_levels

ANCHORS_PER_CELL = 9
_EPS = 1e-3
_LEVEL_SHIFT = 3  # Google counts levels from 3
_NODE = re.compile(r"fpn_cells/cell_(\d+)/fnode(\d+)/(?:resample_\d+_(\d+)_\d+|op_after_combine\d+)/")
_HEAD = re.compile(r"(box|class)_net/(?:box|class)-(\d+|predict)")
_HEAD_LEVEL = re.compile(r"(?:box|class)-(\d+)-bn-(\d+)/")
_BLOCK = re.compile(r"efficientnet-lite(\d+)/blocks_(\d+)/")
_MAX_LABELS = 1 << 20


@dataclass(frozen=True)
class _Convolution:
    """One convolution: PyTorch's weight layout, and the stored integers and steps that it came from."""

    weight: np.ndarray
    """(out, in / groups, k, k) float32."""
    bias: np.ndarray
    """(out,) float32, the folded BatchNorm's shift."""
    steps: np.ndarray
    """(out,) float32 quantisation step of each output channel."""


def read_lite(path: str | Path) -> tuple[dict[str, Tensor], tuple[str, ...], LiteFacts]:
    """Read a file.

    Returns:
        A state dict with the keys of the PyTorch ``effdet`` distribution's ``tf_efficientdet_lite*``, remarks on it, and what
        the file says about itself.

    Raises:
        FlatbufferError: the file is damaged, or is no EfficientDet-Lite of Google's.
    """
    graph = read_graph(path)
    blocks = _residual_blocks(graph)
    state: dict[str, np.ndarray] = {}
    heads: dict[tuple[str, int], dict[int, _Convolution]] = defaultdict(dict)
    biases: dict[str, list[np.ndarray]] = defaultdict(list)
    seen: dict[int, int] = defaultdict(int)
    for operator in graph.operators:
        if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        name = graph.tensors[operator.outputs[0]].name
        convolution = _convolution(graph, operator)
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        if name.startswith("fpn_cells/"):
            _node(state, name, convolution, depthwise)
        elif name.startswith("resample_p6/"):
            _with_norm(state, "fpn.resample.3.conv.conv", "fpn.resample.3.conv.bn", convolution)
        elif name.startswith(("box_net/", "class_net/")):
            _head(state, heads, biases, name, convolution, depthwise)
        elif "/stem/" in name.split(";")[0]:
            _with_norm(state, "backbone.conv_stem", "backbone.bn1", convolution, bias=False)
        elif found := _BLOCK.match(name):
            number = int(found.group(2))
            _block(state, blocks, number, seen[number], convolution, depthwise)
            seen[number] += 1
        else:
            raise FlatbufferError(
                f"{path} is no EfficientDet-Lite of Google's: it has a convolution {name.split(';')[0]!r}"
            )
    if not heads or not seen:
        raise FlatbufferError(f"{path} is no EfficientDet-Lite of Google's: it has no such backbone or heads")
    residual = max(_shared(state, net, repeat, levels) for (net, repeat), levels in heads.items())
    for key, values in biases.items():
        state[key] = np.mean(values, axis=0)
    remark = f"head weights solved back from {len(next(iter(heads.values())))} levels, off by {residual:.2f} int8 steps at most"
    tensors = {key: torch.from_numpy(np.array(value, order="C")) for key, value in state.items()}
    return tensors, (remark,), _facts(graph, path)


@dataclass(frozen=True)
class LiteFacts:
    """What a file says about its model beside its weights."""

    network: int
    """The number of the EfficientNet-Lite: 0 to 4."""
    size: tuple[int, int]
    """(height, width) of the input, pixels."""
    anchors: np.ndarray | None
    """(A, 4) float32, centre y, centre x, height, width, in shares of the input's sides; None without post-processing."""
    mean: float | None
    """Of every channel, in units of the 0…1 pixel range, by the input's quantisation; None where it takes floats."""
    std: float | None
    labels: tuple[str | None, ...] | None
    """Names of its label file, row by row, None where a row has none; None without such a file."""

    @property
    def aspects(self) -> tuple[tuple[float, float], ...]:
        """Width and height factors of the anchors, of which a cell's first three are the first octave's."""
        if self.anchors is None:
            return ROOT_ASPECTS  # all of Google's; the published table's 1.4 x 0.7 is not what they hold
        height, width = self.size
        sides = self.anchors[:3, [3, 2]].astype(np.float64) * (width, height)  # the first is the square one
        found = sides / sides[0]
        for known in (PAPER_ASPECTS, ROOT_ASPECTS):
            if np.allclose(found, known, atol=1e-3):
                return known
        return tuple((float(x), float(y)) for x, y in found)

    @property
    def scale(self) -> float | None:
        """Side of the first anchor in strides of P3; None without anchors."""
        if self.anchors is None:
            return None
        width = self.size[1]
        cells = -(-width // 8)  # three halvings, each rounded up
        return round(float(self.anchors[0, 3]) * cells, 4)


def _facts(graph: LiteGraph, path: str | Path) -> LiteFacts:
    blocks = (_BLOCK.match(graph.tensors[item.outputs[0]].name) for item in graph.operators if item.outputs)
    numbers = {int(found.group(1)) for found in blocks if found}
    if len(numbers) != 1 or not graph.inputs or len(graph.tensors[graph.inputs[0]].shape) != 4:
        raise FlatbufferError(f"{path} is no EfficientDet-Lite of Google's: its backbone or its input is another")
    image = graph.tensors[graph.inputs[0]]
    mean = std = None
    if image.dtype == np.uint8 and image.scale.size == 1 and image.zero_point.size == 1 and image.scale[0] > 0:
        mean, std = int(image.zero_point[0]) / 255, 1 / (255 * float(image.scale[0]))  # (x - zero) * scale
    size = (image.shape[1], image.shape[2])
    return LiteFacts(numbers.pop(), size, _stored_anchors(graph, path), mean, std, _labels(path))


def _stored_anchors(graph: LiteGraph, path: str | Path) -> np.ndarray | None:
    custom = [operator for operator in graph.operators if operator.kind == "TFLite_Detection_PostProcess"]
    if not custom:
        return None
    if len(custom[0].inputs) < 3:
        raise FlatbufferError(f"{path} has a detection post-processing without anchors")
    found = graph.tensors[custom[0].inputs[2]].dequantised()
    if found.ndim != 2 or found.shape[0] < 3 or found.shape[1] != 4 or not (found[:3, 2:] > 0).all():
        raise FlatbufferError(f"{path} has anchors of shape {found.shape}, which must be (anchors, 4)")
    return found


def _labels(path: str | Path) -> tuple[str | None, ...] | None:
    """The label file that TensorFlow's tools append as a zip archive: a line a row, ``???`` for one that is nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [item for item in archive.infolist() if item.filename.endswith(".txt")]
            if len(entries) != 1 or entries[0].file_size > _MAX_LABELS:
                return None
            lines = archive.read(entries[0]).decode("utf-8", "replace").splitlines()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RuntimeError, zlib.error):
        return None
    return tuple(None if line.strip() in ("", "???") else line.strip() for line in lines)


def _convolution(graph: LiteGraph, operator: LiteOperator) -> _Convolution:
    stored = graph.tensors[operator.inputs[1]]
    if stored.data is None or stored.data.ndim != 4 or len(operator.inputs) < 3:
        raise FlatbufferError(f"the convolution {stored.name!r} has no stored weights")
    bias = graph.tensors[operator.inputs[2]]
    # (out, k, k, in) or, depthwise, (1, k, k, out) -> (out, in, k, k)
    order = (3, 0, 1, 2) if operator.kind == "DEPTHWISE_CONV_2D" else (0, 3, 1, 2)
    weight = stored.dequantised().transpose(order)
    return _Convolution(weight, bias.dequantised(), _steps(stored, weight.shape[0]))


def _steps(stored: LiteTensor, channels: int) -> np.ndarray:
    return np.broadcast_to(stored.scale if stored.scale.size else np.ones(1, np.float32), (channels,)).astype(
        np.float32
    )


def _residual_blocks(graph: LiteGraph) -> dict[int, tuple[int, int]]:
    """Block number -> (stage, position). A block without a residual sum begins a stage."""
    numbers, summed = set(), set()
    for operator in graph.operators:
        if found := _BLOCK.match(graph.tensors[operator.outputs[0]].name if operator.outputs else ""):
            numbers.add(int(found.group(2)))
            if operator.kind == "ADD":
                summed.add(int(found.group(2)))
    places, stage, position = {}, -1, 0
    for number in sorted(numbers):
        stage, position = (stage, position + 1) if number in summed else (stage + 1, 0)
        places[number] = (stage, position)
    return places


def _block(
    state: dict[str, np.ndarray],
    places: dict[int, tuple[int, int]],
    number: int,
    order: int,
    convolution: _Convolution,
    depthwise: bool,
) -> None:
    stage, position = places[number]
    # Stage 0 does not expand: depthwise, project. The others: expand, depthwise, project.
    names = ("conv_dw", "conv_pw") if stage == 0 else ("conv_pw", "conv_dw", "conv_pwl")
    if order >= len(names) or depthwise != (names[order] == "conv_dw"):
        raise FlatbufferError(f"block {number} is no EfficientNet-Lite block: its convolution {order} does not fit")
    prefix = f"backbone.blocks.{stage}.{position}"
    _with_norm(state, f"{prefix}.{names[order]}", f"{prefix}.bn{order + 1}", convolution, bias=False)


def _node(state: dict[str, np.ndarray], name: str, convolution: _Convolution, depthwise: bool) -> None:
    found = _NODE.match(name)
    if found is None:
        raise FlatbufferError(f"the neck has an unknown convolution {name.split(';')[0]!r}")
    cell, node, source = found.groups()
    prefix = f"fpn.cell.{cell}.fnode.{node}"
    if source is not None:
        lateral = f"{prefix}.combine.resample.{source}.conv"
        _with_norm(state, f"{lateral}.conv", f"{lateral}.bn", convolution)
    elif depthwise:
        state[f"{prefix}.after_combine.conv.conv_dw.weight"] = _unbiased(name, convolution)
    else:
        after = f"{prefix}.after_combine.conv"
        _with_norm(state, f"{after}.conv_pw", f"{after}.bn", convolution)


def _head(
    state: dict[str, np.ndarray],
    heads: dict[tuple[str, int], dict[int, _Convolution]],
    biases: dict[str, list[np.ndarray]],
    name: str,
    convolution: _Convolution,
    depthwise: bool,
) -> None:
    found = _HEAD.search(name)
    if found is None:
        raise FlatbufferError(f"the heads have an unknown convolution {name.split(';')[0]!r}")
    net, repeat = found.groups()
    place = f"{net}_net.predict" if repeat == "predict" else f"{net}_net.conv_rep.{repeat}"
    if depthwise:
        weight = _unbiased(name, convolution)
        if not np.array_equal(state.setdefault(f"{place}.conv_dw.weight", weight), weight):
            raise FlatbufferError(f"the levels of {place} have different depthwise weights")
    elif repeat == "predict":
        state[f"{place}.conv_pw.weight"] = convolution.weight
        biases[f"{place}.conv_pw.bias"].append(convolution.bias)  # one for each level, equal up to its rounding
    else:
        level = _HEAD_LEVEL.search(name)
        if level is None:
            raise FlatbufferError(f"the head convolution {name.split(';')[0]!r} names no level")
        heads[(f"{net}_net", int(level.group(1)))][int(level.group(2)) - _LEVEL_SHIFT] = convolution


def _shared(state: dict[str, np.ndarray], net: str, repeat: int, levels: dict[int, _Convolution]) -> float:
    """Solve a head's pointwise weights and its per-level BatchNorms; returns the largest misfit in quantisation steps."""
    count = len(levels)
    if sorted(levels) != list(range(count)):
        raise FlatbufferError(f"{net} has levels {sorted(levels)} at repeat {repeat}, expected 0 to {count - 1}")
    ordered = [levels[level] for level in range(count)]
    steps = np.stack([item.steps for item in ordered], axis=1).astype(np.float64)  # (out, levels)
    weights = np.stack([item.weight[:, :, 0, 0] for item in ordered], axis=1).astype(np.float64)  # (out, levels, in)
    solved, gains, misfit = shared_over_levels(torch.from_numpy(weights), torch.from_numpy(steps))
    shared, gamma = solved.numpy(), gains.numpy()
    channels = shared.shape[0]
    state[f"{net}.conv_rep.{repeat}.conv_pw.weight"] = shared.astype(np.float32)[:, :, None, None]
    state[f"{net}.conv_rep.{repeat}.conv_pw.bias"] = np.zeros(channels, np.float32)
    for level, item in enumerate(ordered):
        _norm(state, f"{net}.bn_rep.{repeat}.{level}.bn", item.bias, gamma[:, level].astype(np.float32))
    return misfit


def _with_norm(
    state: dict[str, np.ndarray], convolution_key: str, norm_key: str, convolution: _Convolution, *, bias: bool = True
) -> None:
    state[f"{convolution_key}.weight"] = convolution.weight
    if bias:
        state[f"{convolution_key}.bias"] = np.zeros_like(convolution.bias)
    _norm(state, norm_key, convolution.bias, np.ones_like(convolution.bias))


def _norm(state: dict[str, np.ndarray], key: str, shift: np.ndarray, gain: np.ndarray) -> None:
    """A BatchNorm that computes ``gain * x + shift`` exactly: mean 0, variance 1 - eps."""
    state[f"{key}.weight"] = gain
    state[f"{key}.bias"] = shift
    state[f"{key}.running_mean"] = np.zeros_like(shift)
    state[f"{key}.running_var"] = np.full_like(shift, 1 - _EPS)
    state[f"{key}.num_batches_tracked"] = np.zeros((), np.int64)


def _unbiased(name: str, convolution: _Convolution) -> np.ndarray:
    if np.any(convolution.bias):
        raise FlatbufferError(
            f"the depthwise convolution {name.split(';')[0]!r} has a bias, which no EfficientDet-Lite has"
        )
    return convolution.weight
