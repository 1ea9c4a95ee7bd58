"""What this project uses of PyTorch that has no public name; ``tests/test_internals.py`` names the versions checked.

No other module touches a private name of PyTorch; ``effdet/training/lightning_internals.py`` does so for Lightning.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.dropout import _DropoutNd as Dropout
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

__all__ = [
    "BatchNorm",
    "Dropout",
    "batch_norm_backward",
    "batch_norm_forward",
    "end_workers",
    "foreach_add_",
    "foreach_copy_",
    "foreach_lerp_",
    "foreach_mul_",
    "foreach_sub",
    "has_hooks",
    "set_last_rates",
]

# BatchNorm in training mode with all that its backward needs; `torch.nn.functional.batch_norm` keeps that to itself.
batch_norm_forward = torch.ops.aten._batch_norm_impl_index
batch_norm_backward = torch.ops.aten._batch_norm_impl_index_backward
# One kernel for a list of tensors.
foreach_add_ = torch._foreach_add_  # type: ignore[attr-defined]
foreach_copy_ = torch._foreach_copy_  # type: ignore[attr-defined]
foreach_lerp_ = torch._foreach_lerp_  # type: ignore[attr-defined]
foreach_mul_ = torch._foreach_mul_  # type: ignore[attr-defined]
foreach_sub = torch._foreach_sub  # type: ignore[attr-defined]


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody watches the forward passes of `module`."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def set_last_rates(scheduler: LRScheduler, rates: Sequence[float | Tensor]) -> None:
    """What ``scheduler.get_last_lr()`` returns until its next step."""
    scheduler._last_lr = list(rates)  # type: ignore[assignment]


def end_workers(loader: DataLoader) -> None:
    """Ends the persistent workers of `loader`; iterating again starts new ones."""
    if (running := loader._iterator) is not None:
        running._shutdown_workers()  # type: ignore[attr-defined]
        loader._iterator = None
