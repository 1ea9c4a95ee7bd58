"""BatchNorm's running statistics in training: how fast they follow the batches, and how they survive a non-finite step.

**Speed.**
The paper's 0.01 is for 100,000s of steps. After the few hundred steps of a small set the running statistics would still be
half those of the start, and evaluation, which uses them, would evaluate another network than the one that was trained. The rule
for fine-tuning (EfficientNet section 5.2, after Kornblith et al.): momentum ``max(1 - 10 / s, 0.9)`` in TensorFlow's sense
for s steps an epoch, which is ``min(10 / s, 0.1)`` in PyTorch's. It is applied where it is faster than the model's own.

**Non-finite steps.**
A forward pass writes into them before anyone knows whether its step is valid. One activation that overflowed (half
precision does it first) makes a mean NaN for good, and with it the model's average: training goes on as if nothing were
wrong, since it normalises by the batch, while every evaluation fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from backbones.torch_internals import BatchNorm, foreach_copy_


def follow(batches: int) -> float:
    """Share of the new batch in the running statistics, for an epoch of `batches` batches."""
    return min(10 / max(batches, 1), 0.1)


def set_norm_momentum(model: nn.Module, *, momentum: float | None, batches: int) -> float | None:
    """Set the momentum of every BatchNorm in `model`.

    Args:
        momentum: PyTorch's sense; None takes the rule's, but never one below a layer's own.
        batches: of an epoch on one process.

    Returns:
        The slowest layer's momentum, or None where the model has no BatchNorm.
    """
    found = []
    for layer in model.modules():
        if isinstance(layer, BatchNorm) and layer.momentum is not None:
            layer.momentum = max(layer.momentum, follow(batches)) if momentum is None else momentum
            found.append(layer.momentum)
    return min(found, default=None)


class RunningStatistics:
    """Remembers the statistics of a model as they were after the last valid step.

    Args:
        model: on the device it will train on.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
        self._live = [
            value for layer in layers for value in (layer.running_mean, layer.running_var) if value is not None
        ]
        self._counters = [layer.num_batches_tracked for layer in layers if layer.num_batches_tracked is not None]
        self._sizes = [value.numel() for value in self._live]
        self._valid, self._counted = self._flat(), self._counts()

    @torch.no_grad()
    def commit_or_roll_back(self, finite: Tensor) -> None:
        """Keep what the step has written where it was `finite`, () bool; else go back.

        A few kernels and no wait for the device.
        """
        if not self._live:
            return
        self._valid = torch.where(finite, self._flat(), self._valid)
        foreach_copy_(self._live, list(self._valid.split(self._sizes)))
        if self._counters:
            self._counted = torch.where(finite, self._counts(), self._counted)
            foreach_copy_(self._counters, list(self._counted.unbind()))

    def _counts(self) -> Tensor:
        return torch.stack(self._counters) if self._counters else torch.empty(0, dtype=torch.int64)

    def _flat(self) -> Tensor:
        return torch.cat([value.detach().flatten() for value in self._live]) if self._live else torch.empty(0)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """What passes of the model inside write into BatchNorm's running statistics is lost.

    They write into copies: a pass from before, whose gradient is still to come, has the statistics themselves saved.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, BatchNorm) and layer.training]
    kept = [(layer, name, value) for layer in layers for name, value in layer.named_buffers(recurse=False)]
    for layer, name, value in kept:
        setattr(layer, name, value.clone())
    try:
        yield
    finally:
        for layer, name, value in kept:
            setattr(layer, name, value)
