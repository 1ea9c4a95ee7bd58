"""The small layers that backbones, necks and heads are made of.

Padding. TensorFlow's ``SAME`` gives an output of ``ceil(size / stride)`` and puts the odd pixel of padding at the
bottom and the right; so a 3x3 convolution of stride 2 pads an even image by (0, 1), where PyTorch's ``padding=1``
pads it by (1, 1). Weights ported from TensorFlow (``tf_*``, EfficientDet D0-D7x) need the former, weights trained in
PyTorch the latter. Both rules have equal keys and shapes, so a layer carries its rule as the attribute
``padding_rule``, which may be set later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.memory_efficient import norm_act

PADDING_RULES = ("same", "symmetric")

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "relu6": F.relu6,
    "relu": F.relu,
    "hard_swish": F.hardswish,
    "gelu": F.gelu,
    "identity": lambda x: x,
}
ACTIVATIONS = tuple(_ACTIVATIONS)
_IN_PLACE: dict[str, Callable[..., Tensor]] = {
    "silu": F.silu,
    "relu6": F.relu6,
    "relu": F.relu,
    "hard_swish": F.hardswish,
}


@dataclass(frozen=True, kw_only=True)
class LayerConventions:
    """What the layers of a backbone, neck or head share. Settings of modules made of such layers derive from it."""

    activation: Literal["silu", "relu6", "relu", "hard_swish", "gelu", "identity"] = "silu"
    """After each convolution but the projections."""
    padding: Literal["same", "symmetric"] = "same"
    """TensorFlow's (same) or PyTorch's (symmetric); pretrained weights only fit the one they were trained with."""
    norm_eps: Annotated[float, "0<.."] = 1e-3
    norm_momentum: Annotated[float, "0<..1"] = 0.01
    """PyTorch's sense: the share of the new batch. (The paper's 0.99 is TensorFlow's, the share kept.)"""

    @property
    def conventions(self) -> LayerConventions:
        """These four of settings that have more fields."""
        return LayerConventions(**{field.name: getattr(self, field.name) for field in fields(LayerConventions)})

    def norm(self, channels: int) -> BatchNorm2d:
        return BatchNorm2d(channels, eps=self.norm_eps, momentum=self.norm_momentum)


DEFAULTS = LayerConventions()


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's ``SAME`` adds before and after an axis.

    ``total = max((ceil(size / stride) - 1) * stride + kernel - size, 0)``, the smaller half first.
    """
    # Not -(-size // stride): an exported graph divides towards zero, and sizes may be symbolic.
    total = ((size + stride - 1) // stride - 1) * stride + kernel - size
    if kernel < stride:  # only then can the total be negative; no comparison with `size`, which may be symbolic
        total = max(total, 0)
    return total // 2, total - total // 2


class _Padded(nn.Module):
    """What convolution and pooling share: one padding rule, resolved from the tensor's size when it depends on it."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    _rule: str

    @property
    def padding_rule(self) -> str:
        """``"same"`` (TensorFlow) or ``"symmetric"`` (PyTorch). It may be set after building."""
        return self._rule

    @padding_rule.setter
    def padding_rule(self, rule: str) -> None:
        if rule not in PADDING_RULES:
            raise ValueError(f"padding must be one of {', '.join(PADDING_RULES)}, got {rule!r}")
        self._rule = rule
        # At stride 1 and with an odd kernel the two rules agree: a constant that the kernel itself applies.
        self._from_size = rule == "same" and (self.stride != (1, 1) or any(size % 2 == 0 for size in self.kernel_size))
        self.padding = (0, 0) if self._from_size else ((self.kernel_size[0] - 1) // 2, (self.kernel_size[1] - 1) // 2)

    def _pads(self, x: Tensor) -> list[int]:
        """``[left, right, top, bottom]`` for `x` (B, C, H, W)."""
        pads: list[int] = []
        for axis in (1, 0):
            pads += same_padding(x.shape[axis - 2], self.kernel_size[axis], self.stride[axis])
        return pads


def _is_traced() -> bool:
    # A traced or exported graph has to serve every size: no decision may hang on the size at hand.
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _trains_in_halves_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


class Conv2d(nn.Conv2d, _Padded):
    """Convolution under a named padding rule. (B, in, H, W) -> (B, out, ceil(H / stride), ceil(W / stride)).

    Padding copies the input only where it is asymmetric (stride 2 on an even size); else the kernel pads by itself. See
    also :meth:`pad_kernel`.

    Training in bfloat16 on a CPU: a depthwise convolution's gradient takes three times as long there as in float32
    (measured with torch 2.15), and eats up what the other layers gain. So it is computed in float32, between
    tensors that stay bfloat16.
    """

    _wide: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        padding: str = "same",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)
        self.padding_rule = padding
        self.register_buffer("_wide", None, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        if self.groups > 1 and _trains_in_halves_on_cpu(input):
            with torch.autocast("cpu", enabled=False):
                return self._convolved(input.float()).to(torch.get_autocast_dtype("cpu"))
        return self._convolved(input)

    def _convolved(self, input: Tensor) -> Tensor:
        if not self._from_size:
            return super().forward(input)
        weight, padding = self.weight, (0, 0)
        left, right, top, bottom = pads = self._pads(input)
        if _is_traced():
            input = F.pad(input, pads)
        elif left == right and top == bottom:
            padding = (top, left)
        elif self._wide is not None and (right - left, bottom - top) == (1, 1) and input.device.type == "cpu":
            weight, padding = self._wide, (bottom, right)
        else:
            input = F.pad(input, pads)
        return F.conv2d(input, weight, self.bias, self.stride, padding, groups=self.groups)

    def pad_kernel(self) -> None:
        """For prediction on a CPU: no copy of the input to pad it, where a depthwise kernel strides over an even size.

        TensorFlow's rule then pads a pixel more at the end than at the start. A kernel with a row and a column of zeros in
        front, padded alike on both sides, gives the same numbers. (A GPU has no quick kernel of even size.)
        """
        if self.groups == self.in_channels and self._from_size:
            self._wide = F.pad(self.weight.detach(), [1, 0, 1, 0])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, padding_rule={self._rule}"


class MaxPool2d(_Padded):
    """Max-pooling under a named padding rule; padding never wins (it is minus infinity)."""

    def __init__(self, kernel: int, stride: int, *, padding: str = "same") -> None:
        super().__init__()
        self.kernel_size, self.stride = (kernel, kernel), (stride, stride)
        self.padding_rule = padding

    def forward(self, x: Tensor) -> Tensor:
        padding = cast(tuple[int, ...], self.padding)
        if self._from_size:
            left, right, top, bottom = pads = self._pads(x)
            if _is_traced() or left != right or top != bottom:
                x = F.pad(x, pads, value=float("-inf"))
            else:
                padding = (top, left)
        return F.max_pool2d(x, self.kernel_size, self.stride, padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding_rule={self._rule}"


class Activation(nn.Module):
    """An activation that remembers its name, so that a spec and a report can say what a network uses."""

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in _ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return _ACTIVATIONS[self.name](x)

    def forward_inplace(self, x: Tensor) -> Tensor:
        """The same, which may be written over `x`."""
        return _IN_PLACE[self.name](x, inplace=True) if self.name in _IN_PLACE else self(x)

    def extra_repr(self) -> str:
        return self.name


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that also trains on a batch of one at a level of one cell.

    One value has no variance, and PyTorch refuses it. Such a channel takes the running statistics instead, for that step.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(input, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(input)


class ConvNormAct(nn.Module):
    """Convolution without bias, BatchNorm, activation.

    Args:
        linear: without the activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
        conventions: LayerConventions = DEFAULTS,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, padding=conventions.padding)
        self.norm = conventions.norm(out_channels)
        self.act = Activation("identity" if linear else conventions.activation)

    def forward(self, x: Tensor) -> Tensor:
        return norm_act(self.norm, self.act, self.conv(x))


class SeparableConv2d(nn.Module):
    """Depthwise 3x3, then pointwise 1x1 convolution. Norm and activation are left to its user."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True, padding: str = "same") -> None:
        super().__init__()
        self.depthwise = Conv2d(in_channels, in_channels, 3, groups=in_channels, padding=padding)
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=bias, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


def convolution3x3(cin: int, cout: int, *, separable: bool, bias: bool, padding: str) -> SeparableConv2d | Conv2d:
    """A separable or a full one."""
    if separable:
        return SeparableConv2d(cin, cout, bias=bias, padding=padding)
    return Conv2d(cin, cout, 3, bias=bias, padding=padding)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): in training each sample's branch is dropped with probability `rate`.

    A kept branch is divided by its survival probability, so that its expectation is that of evaluation, which does
    nothing. It draws from torch's default generator, which training seeds for each step.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"a drop-path rate must lie in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        survival = 1.0 - self.rate
        kept = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(survival)
        return x * kept / survival  # dividing x, not `kept`: in bf16 a rounded 1/survival would bias every sample alike

    def extra_repr(self) -> str:
        return f"rate={self.rate:.4g}"


FUSION_EPS = 1e-4


def normalised_shares(weights: Tensor) -> Tensor:
    """Fast normalised fusion (EfficientDet, arXiv 1911.09070, section 3.3): ``relu(w_i) / (eps + sum_j relu(w_j))``.

    Args:
        weights: (inputs,) of any float type.

    Returns:
        (inputs,) float32 shares.
    """
    positive = torch.relu(weights.float())
    return positive / (positive.sum() + FUSION_EPS)


def initialise(module: nn.Module) -> None:
    """Draws every weight in `module` anew, as the reference implementation does (EfficientNet's own code).

    Convolutions: N(0, 2 / fan_out) with ``fan_out = k * k * out / groups``; BatchNorm: 1 and 0; dense layers: U(-r, r)
    with ``r = 1 / sqrt(outputs)``; biases 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=(2.0 / fan_out) ** 0.5)
        elif isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -(layer.out_features**-0.5), layer.out_features**-0.5)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
            continue
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
