"""How fast BatchNorm's running statistics follow the batches.

The paper's 0.01 is for 100,000s of steps. After the few hundred steps of a small set the running statistics would still be
half those of the start, and evaluation, which uses them, would judge another network than the one that was trained. The rule
for fine-tuning (EfficientNet section 5.2, after Kornblith et al.): momentum ``max(1 - 10 / s, 0.9)`` in TensorFlow's sense
for s steps an epoch, which is ``min(10 / s, 0.1)`` in PyTorch's. It is applied where it is faster than the model's own.
"""

from __future__ import annotations

from torch import nn


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
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.momentum is not None:
            layer.momentum = max(layer.momentum, follow(batches)) if momentum is None else momentum
            found.append(layer.momentum)
    return min(found, default=None)
