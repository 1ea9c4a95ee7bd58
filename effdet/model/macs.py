"""Multiply-adds of any network, counted on tensors that may be without data. The one counter of the project."""

from __future__ import annotations

import torch
from torch import nn


def count_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products in ``module(*inputs)``.

    As the papers count: no bias, normalisation, activation, pooling, resampling or sum. The tensors may be on torch's
    device ``meta``, which computes shapes alone.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports for a second

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2  # a multiply-add is two operations to torch
