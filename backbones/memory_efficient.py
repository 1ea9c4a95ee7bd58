"""Activations that training need not store: the same functions and gradients with fewer tensors kept for the backward pass.

Autograd keeps a convolution's output for its BatchNorm, the BatchNorm's output for its activation, and the activation's
output for the next convolution. The one in the middle is a channel-wise affine map of the first, so :func:`norm_act`
computes it again (SiLU), or lets the activation overwrite it (ReLU and ReLU6, whose gradients can be reported from their
output). :func:`gate` keeps the product that the next convolution keeps anyway, in place of its factor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.torch_internals import batch_norm_backward, batch_norm_forward, has_hooks

PIECE = {"cpu": 1 << 18}
"""Entries handled together on the way back: what stays in a CPU core's cache."""


def norm_act(norm: nn.Module, act: nn.Module, x: Tensor) -> Tensor:
    """``act(norm(x))``. (B, C, H, W) -> the same; `x` is a convolution's output, which nobody else reads."""
    if _is_folded(norm, act) and not torch.is_grad_enabled() and not _must_be_plain():
        return act.forward_inplace(x)  # type: ignore[operator]
    if not _saves_memory(norm, act, x):
        return act(norm(x))
    if act.name == "relu6":
        return F.relu6(norm(x), inplace=True)
    if act.name == "relu":
        return F.relu(norm(x), inplace=True)
    if act.name == "silu":
        return _norm_silu(norm, x)  # type: ignore[arg-type]
    return act(norm(x))


def gate(x: Tensor, weights: Tensor) -> Tensor:
    """``x * weights.sigmoid()``. (B, C, H, W) and (B, C, 1, 1) logits -> (B, C, H, W)."""
    if not torch.is_grad_enabled() or _must_be_plain():
        return x * weights.sigmoid()
    return _Gate.apply(x, weights)  # type: ignore[no-any-return]


def _must_be_plain() -> bool:
    # A compiler chooses for itself what to compute again, and exported graphs hold no Python.
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _is_folded(norm: nn.Module, act: nn.Module) -> bool:
    """BatchNorm has gone into the convolution, whose output may be written over; hooks would not be reported."""
    hooked = has_hooks(norm) or has_hooks(act)
    return isinstance(norm, nn.Identity) and hasattr(act, "forward_inplace") and not hooked


def _saves_memory(norm: nn.Module, act: nn.Module, x: Tensor) -> bool:
    """Training, with a BatchNorm that takes statistics of this batch, and nobody who watches what lies between."""
    return (
        isinstance(norm, nn.BatchNorm2d)
        and norm.training
        and norm.affine
        and x.numel() > x.shape[1]  # one value has no variance: `backbones.layers.BatchNorm2d` knows what to do then
        and torch.is_grad_enabled()
        and not (has_hooks(norm) or has_hooks(act))
        and not _must_be_plain()
    )


def _norm_silu(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    momentum = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1.0 / float(norm.num_batches_tracked) if momentum is None else momentum
    statistics = (norm.running_mean, norm.running_var)
    return _NormSilu.apply(x, norm.weight, norm.bias, *statistics, momentum or 0.0, norm.eps)  # type: ignore[no-any-return]


def differentiable_gradients(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], gradient: Tensor
) -> list[Tensor | None]:
    """The gradient of `function` at each of `inputs`, as autograd's own graph: it can be differentiated again.

    For the backward of a function whose quick way back can't; None for an input that needs no gradient.
    """
    needed = [value for value in inputs if value.requires_grad]
    found = iter(torch.autograd.grad(function(*inputs), needed, gradient, create_graph=True))
    return [next(found) if value.requires_grad else None for value in inputs]


class _NormSilu(torch.autograd.Function):
    """SiLU of BatchNorm in training mode, by PyTorch's own kernels; between the two nothing is stored."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, momentum: float, eps: float
    ) -> Tensor:
        normed, batch_mean, scale, reserve, kernel = batch_norm_forward(
            x, weight, bias, mean, var, True, momentum, eps, torch.backends.cudnn.enabled
        )
        ctx.save_for_backward(x, weight, bias, mean, var, batch_mean, scale, reserve)
        ctx.eps, ctx.kernel = eps, kernel
        return F.silu(normed, inplace=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, var, batch_mean, scale, reserve = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the kernels below have no derivative, the plain layers have

            def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
                return F.silu(F.batch_norm(x, None, None, weight, bias, True, 0.0, ctx.eps))

            return *differentiable_gradients(plain, (x, weight, bias), gradients[0]), None, None, None, None
        factor = weight * scale
        slope = _silu_slope(gradients[0], x, factor, bias - batch_mean * factor)
        grads = batch_norm_backward(
            ctx.kernel, x, slope, weight, mean, var, batch_mean, scale, True, ctx.eps, [True, True, True], reserve
        )
        return *grads, None, None, None, None


def _silu_slope(gradient: Tensor, x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """The gradient of ``silu(x * factor + shift)`` with respect to its argument; `factor` and `shift` are (C,)."""
    layout = torch.channels_last
    slope = torch.empty_like(x, memory_format=layout)
    # (B, C, H, W) -> (B * H * W, C), a view. Piece by piece the argument never leaves the cache.
    cells = [
        tensor.contiguous(memory_format=layout).permute(0, 2, 3, 1).flatten(0, 2) for tensor in (gradient, x, slope)
    ]
    size = max(1, PIECE.get(x.device.type, 1 << 25) // x.shape[1])
    for g, value, out in zip(*(tensor.split(size) for tensor in cells), strict=True):
        torch.addcmul(shift, value, factor, out=out)
        torch.ops.aten.silu_backward.grad_input(g, out, grad_input=out)
    return slope


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        product = x * weights.sigmoid()
        # Input and output: what autograd can differentiate once more. The share itself would be a constant to it.
        ctx.save_for_backward(product, weights)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        # With p = x s: dL/dw = s (1 - s) sum(g x) = (1 - s) sum(g p), which has no x in it, and no division.
        product, weights = ctx.saved_tensors
        (gradient,) = gradients
        share = weights.sigmoid()
        total = (gradient * product).sum((2, 3), keepdim=True)
        return gradient * share, total * (1 - share)
