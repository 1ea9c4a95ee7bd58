"""BatchNorm's running statistics, kept from steps that were not finite.

A forward pass writes into them before anyone knows whether its step is sound. One activation that overflowed (half
precision does it first) makes a mean NaN for good, and with it the model's average: training goes on as if nothing were
wrong, since it normalises by the batch, while every evaluation fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RunningStatistics:
    """Remembers the statistics of a model as they were after the last sound step.

    Args:
        model: on the device it will train on.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
        self._live = [
            value for layer in layers for value in (layer.running_mean, layer.running_var) if value is not None
        ]
        self._counters = [layer.num_batches_tracked for layer in layers if layer.num_batches_tracked is not None]
        self._sizes = [value.numel() for value in self._live]
        self._sound, self._counted = self._flat(), self._counts()

    @torch.no_grad()
    def settle(self, finite: Tensor) -> None:
        """Keep what the step has written where it was `finite`, () bool; else go back.

        A few kernels and no wait for the device.
        """
        if not self._live:
            return
        self._sound = torch.where(finite, self._flat(), self._sound)
        torch._foreach_copy_(self._live, list(self._sound.split(self._sizes)))  # type: ignore[attr-defined]
        if self._counters:
            self._counted = torch.where(finite, self._counts(), self._counted)
            torch._foreach_copy_(self._counters, list(self._counted.unbind()))  # type: ignore[attr-defined]

    def _counts(self) -> Tensor:
        return torch.stack(self._counters) if self._counters else torch.empty(0, dtype=torch.int64)

    def _flat(self) -> Tensor:
        return torch.cat([value.detach().flatten() for value in self._live]) if self._live else torch.empty(0)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """What passes of the model inside write into BatchNorm's running statistics is lost.

    They write into copies: a pass from before, whose gradient is still to come, has the statistics themselves saved.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    kept = [(layer, name, value) for layer in layers for name, value in layer.named_buffers(recurse=False)]
    for layer, name, value in kept:
        setattr(layer, name, value.clone())
    try:
        yield
    finally:
        for layer, name, value in kept:
            setattr(layer, name, value)
