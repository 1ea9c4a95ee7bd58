"""Dividing a loss by what all processes count.

Gradients are averaged over processes. A mean over each process's own boxes (pixels, pictures) would then weigh those of a
process that has few of them more; sums over all that are labelled anywhere, divided by their number, are what one process with
all pictures computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def over_ranks(count: Tensor) -> tuple[Tensor, int]:
    """``(sum of `count` over the processes, their number)``; `count` is a scalar of this one.

    A process's loss is its sum · number / total. Every process must call it equally often.
    """
    count = count.detach().to(torch.float32).reshape(())
    if _alone.get() or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return count, 1
    count = count.clone()
    torch.distributed.all_reduce(count)
    return count, torch.distributed.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process asks no other: for losses that are computed on trial, by each as often as it needs."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)
