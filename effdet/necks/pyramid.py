"""The feature pyramid: backbone features C1…C5 in, fused levels P2…P9 out.

One class for every wiring of :mod:`effdet.necks.topology`. A node computes, in the paper's order,
``norm(conv(act(fuse(resample(inputs)))))`` with a 3x3 separable convolution and no activation after it (EfficientDet's
``conv_bn_relu_pattern=False``). Where an input is not yet as wide as the neck, a 1x1 convolution with BatchNorm precedes
the resampling; each use has its own, so P4 and P5 have two in the first cell (as in the reference weights).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.fields import as_lists, as_tuples, build
from backbones.layers import (
    FUSION_EPS,
    Activation,
    Conv2d,
    LayerConventions,
    MaxPool2d,
    convolution3x3,
    normalised_shares,
)
from effdet.necks.topology import Node, last_nodes, level_number, reaching, topology
from heads.fields import check_fields
from heads.structures import UserError


@dataclass(frozen=True)
class NeckSpec(LayerConventions):
    """All that decides a neck."""

    levels: tuple[str, ...] = ("P3", "P4", "P5", "P6", "P7")
    outputs: tuple[str, ...] | None = None
    """The levels that the heads read; None for all. The last cell has no node that none of them depends on: it would cost
    time, and never learn."""
    channels: Annotated[int, "1.."] = 64
    """Width of every level; memory and time grow with it."""
    repeats: Annotated[int, "1.."] = 3
    """Number of cells, one after the other."""
    kind: Literal["bifpn", "fpn", "panet", "quad"] = "bifpn"
    """The wiring: a BiFPN but for the published EfficientDet-Q."""
    fusion: Literal["fast", "softmax", "sum"] = "fast"
    """How a node weighs its inputs; fast is the paper's, sum has no weights."""
    redundant_bias: bool = True
    """Convolutions before a BatchNorm have a bias all the same, as in the published TensorFlow weights."""
    separable: bool = True
    """false takes full convolutions, about 9 times as heavy."""
    downsample: Literal["max", "bilinear"] = "max"
    upsample: Literal["nearest", "bilinear"] = "nearest"

    def __post_init__(self) -> None:
        check_fields(self, "neck.")
        if self.outputs is not None and not (self.outputs and set(self.outputs) <= set(self.levels)):
            raise UserError(f"neck.outputs={self.outputs} must be some of its levels {', '.join(self.levels)}")

    def replace(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        return as_lists(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return build(cls, as_tuples(values), what="neck", error=UserError)


class Fusion(nn.Module):
    """The weighted sum of equally shaped maps (EfficientDet, arXiv 1911.09070, section 3.3).

    Rules:
        fast     w_i = relu(w_i) / (eps + sum_j relu(w_j)), the paper's fast normalised fusion, eps 1e-4
        softmax  w_i = exp(w_i) / sum_j exp(w_j)
        sum      w_i = 1, without parameters
    """

    weights: nn.Parameter | None
    constant: Tensor | None

    def __init__(self, inputs: int, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.weights = None if rule == "sum" else nn.Parameter(torch.ones(inputs))
        self.register_buffer("constant", None)

    def shares(self) -> Tensor | None:
        """(inputs,) float32 share of each input, or None for a plain sum."""
        if self.constant is not None or self.weights is None:
            return self.constant
        if self.rule == "softmax":
            return torch.softmax(self.weights.float(), dim=0)
        return normalised_shares(self.weights)

    def weights_of(self, shares: Tensor) -> Tensor:
        """Weights that give these `shares` (inputs,): the way back from :meth:`freeze`."""
        exact = shares.double()
        if self.rule == "softmax":
            return exact.clamp(min=1e-30).log().to(shares.dtype)
        rest = 1 - exact.sum()  # eps / (eps + sum of the weights)
        return (exact * (FUSION_EPS / rest if rest > 1e-7 else 1.0)).to(shares.dtype)

    def freeze(self) -> None:
        """Turn the weights into constants. Only for prediction: the module can't be trained after it."""
        shares = self.shares()
        self.constant = None if shares is None else shares.detach()
        self.weights = None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Sequence of (B, C, H, W) -> (B, C, H, W)."""
        shares = self.shares()
        if shares is None:
            total = inputs[0] + inputs[1]
            for tensor in inputs[2:]:
                total = total + tensor
            return total
        shares = shares.to(inputs[0].dtype)
        total = inputs[0] * shares[0]
        for index, tensor in enumerate(inputs[1:], start=1):
            total = torch.addcmul(total, tensor, shares[index])
        return total


class Lateral(nn.Module):
    """1x1 convolution and BatchNorm that bring a feature map to the neck's width, at the map's own size."""

    def __init__(self, in_channels: int, spec: NeckSpec) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, spec.channels, 1, bias=spec.redundant_bias, padding=spec.padding)
        self.norm = spec.norm(spec.channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Downsample(nn.Module):
    """Half the size: max-pool 3x3 stride 2 (the paper), or bilinear (the EfficientDet-v2 models)."""

    def __init__(self, spec: NeckSpec) -> None:
        super().__init__()
        self.pool = MaxPool2d(3, 2, padding=spec.padding) if spec.downsample == "max" else None

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, *size); without `size`, (B, C, ceil(H/2), ceil(W/2))."""
        if self.pool is not None:
            return self.pool(x)
        return upsample(x, size or ((x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2), "bilinear")


def upsample(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), nearest (the paper) or bilinear."""
    return F.interpolate(x, size=size, mode=mode, align_corners=None if mode == "nearest" else False)


class FusionNode(nn.Module):
    """One circle of the figure: resample, fuse, activate, convolve, normalise."""

    def __init__(self, node: Node, in_channels: Mapping[str, int], spec: NeckSpec) -> None:
        super().__init__()
        self.node = node
        unlike = [name for name in node.inputs if in_channels[name] != spec.channels]
        self.laterals = nn.ModuleDict({_key(name): Lateral(in_channels[name], spec) for name in unlike})
        self.down = Downsample(spec)
        self.upsample_mode = spec.upsample
        rule = (node.fusion or spec.fusion) if len(node.inputs) > 1 else "sum"
        self.fuse = Fusion(len(node.inputs), rule)
        self.act = Activation(spec.activation)
        width, bias = spec.channels, spec.redundant_bias
        self.conv = convolution3x3(width, width, separable=spec.separable, bias=bias, padding=spec.padding)
        self.norm = spec.norm(width)

    def forward(self, features: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        inputs = [self._resampled(name, features[name], size) for name in self.node.inputs]
        fused = self.fuse(inputs) if len(inputs) > 1 else inputs[0]
        return self.norm(self.conv(self.act(fused)))

    def _resampled(self, name: str, x: Tensor, size: tuple[int, int]) -> Tensor:
        key = _key(name)
        if key in self.laterals:
            x = self.laterals[key](x)
        source, target = level_number(name.partition(".")[2]), level_number(self.node.level)
        if source < target:
            return self.down(x, size)
        return upsample(x, size, self.upsample_mode) if source > target else x


class Cell(nn.Module):
    """One repeat of the wiring. Sub-modules are reached as ``cell.td.P4``, ``cell.out.P5``."""

    def __init__(
        self, nodes: tuple[Node, ...], outputs: Mapping[str, str], in_channels: Mapping[str, int], spec: NeckSpec
    ) -> None:
        """`outputs`: level -> the node that it leaves the cell from, for the levels that leave it."""
        super().__init__()
        self.nodes = nodes
        self.levels = spec.levels
        widths = {f"in.{level}": in_channels[level] for level in spec.levels}
        for node in nodes:
            if not hasattr(self, node.path):
                self.add_module(node.path, nn.ModuleDict())
            path = getattr(self, node.path)
            path[node.level] = FusionNode(node, widths, spec)
            widths[node.name] = spec.channels
        self.outputs = outputs

    def forward(self, levels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        features = {f"in.{level}": levels[level] for level in self.levels}
        for node in self.nodes:
            height, width = levels[node.level].shape[2:]
            features[node.name] = getattr(self, node.path)[node.level](features, (height, width))
        return {level: features[name] for level, name in self.outputs.items()}


class ExtraLevels(nn.Module):
    """The levels above C5: P6 is C5 through a 1x1 convolution, halved; each next is the one below, halved."""

    def __init__(self, in_channels: int, spec: NeckSpec) -> None:
        super().__init__()
        self.names = tuple(level for level in spec.levels if level_number(level) > 5)
        self.down = Downsample(spec)
        if self.names and in_channels != spec.channels:
            self.add_module(self.names[0], Lateral(in_channels, spec))

    def forward(self, c5: Tensor) -> dict[str, Tensor]:
        levels, x = {}, c5
        for name in self.names:
            lateral = getattr(self, name, None)
            x = self.down(x if lateral is None else lateral(x))
            levels[name] = x
        return levels


class FeaturePyramid(nn.Module):
    """The neck: ``neck({"C1": …, "C5": …}) -> {"P3": …, "P7": …}``, each (B, channels, H/2^n, W/2^n), rounded up.

    What comes out are the levels of ``spec.outputs``.

    Args:
        in_channels: channels of the backbone's features, by name.
        spec: levels, width, depth, wiring.
    """

    def __init__(self, in_channels: Mapping[str, int], spec: NeckSpec) -> None:
        super().__init__()
        self.spec = spec
        self.levels = spec.levels
        self.channels = spec.channels
        self.backbone_levels = tuple(level for level in spec.levels if level_number(level) <= 5)
        widths = {level: in_channels[f"C{level_number(level)}"] for level in self.backbone_levels}
        self.extra = ExtraLevels(in_channels["C5"], spec)
        widths |= dict.fromkeys(self.extra.names, spec.channels)
        nodes = topology(spec.kind, spec.levels)
        self.cells = nn.ModuleList()
        for number in range(1, spec.repeats + 1):
            leaving = (spec.outputs or spec.levels) if number == spec.repeats else spec.levels
            ends = last_nodes(nodes)
            outputs = {level: ends[level] for level in spec.levels if level in leaving}
            self.cells.append(Cell(reaching(nodes, leaving), outputs, widths, spec))
            widths = dict.fromkeys(spec.levels, spec.channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform convolutions, zero biases, as the reference's neck."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        levels = {level: features[f"C{level_number(level)}"] for level in self.backbone_levels}
        levels |= self.extra(features["C5"])
        for cell in self.cells:
            levels = cell(levels)
        return levels


def _key(name: str) -> str:
    """Module names can't hold a dot: ``in.P4`` is kept as ``P4``, ``td.P4`` as ``td_P4``."""
    path, _, level = name.partition(".")
    return level if path == "in" else f"{path}_{level}"
