"""Statistics for BatchNorms that a file brought without, by a pass over images.

A BatchNorm with any mean m and variance v computes ``s * x + b`` when its weight is ``s * sqrt(v + eps)`` and its bias
``b + s * m``. So each takes mean and variance of what it sees in a pass over images in evaluation mode: evaluation mode stays
the same function, and training mode, which normalises by the batch, becomes the same function up to the batch's noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from effdet.model import VisionModel

BATCH = 8
MIN_VARIANCE = 1e-6
"""Of a channel that never changes: far below every epsilon in use."""


class _Moments:
    """Running mean and variance of every channel over all that a layer sees, in float64 (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A forward pre-hook of the layer, whose one input is (B, C, H, W)."""
        x = inputs[0]
        count = x.numel() // x.shape[1]
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        mean, squares = mean.double().cpu(), variance.double().cpu() * count
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        assert self.squares is not None
        return (self.squares / self.count).clamp(min=MIN_VARIANCE)


@torch.no_grad()
def put_back(model: nn.Module, norms: Mapping[str, nn.BatchNorm2d], batches: Iterable[Tensor]) -> int:
    """Give `norms` the statistics of a pass over images; what they compute in evaluation mode stays the same.

    Args:
        model: a VisionModel or a bare backbone; left in the mode it was in.
        norms: modules of the model, by name.
        batches: (B, 3, H, W) float32, normalised as the model wants them.

    Returns:
        Number of images.
    """
    modes = [(module, module.training) for module in model.modules()]
    moments = {name: _Moments() for name in norms}
    network = model
    if isinstance(model, VisionModel) and all(name.startswith("backbone.") for name in norms):
        network = model.backbone
    parameter = next(model.parameters())
    images = 0
    with ExitStack() as stack:
        for name, norm in norms.items():
            stack.callback(norm.register_forward_pre_hook(moments[name]).remove)
        try:
            model.eval()
            with torch.autocast(parameter.device.type, enabled=False):
                for batch in batches:
                    network(batch.to(parameter).contiguous(memory_format=torch.channels_last))
                    images += len(batch)
        finally:
            for module, training in modes:
                module.training = training
    for name, norm in norms.items():
        if moments[name].count:
            _set(norm, moments[name])
    return images


def _set(norm: nn.BatchNorm2d, moments: _Moments) -> None:
    assert norm.running_mean is not None and norm.running_var is not None and moments.mean is not None
    mean, var, weight, bias = (x.double().cpu() for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    gain = weight / (var + norm.eps).sqrt()
    shift = bias - gain * mean
    # In the precision that they are stored in, so that rounding them changes nothing in evaluation mode.
    new_mean = moments.mean.to(norm.running_mean.dtype).double()
    new_var = moments.variance.to(norm.running_var.dtype).double()
    norm.running_mean.copy_(new_mean)
    norm.running_var.copy_(new_var)
    norm.weight.copy_(gain * (new_var + norm.eps).sqrt())
    norm.bias.copy_(shift + gain * new_mean)
