"""Dividing a loss by what the whole optimiser step counts: over all processes, and over its micro-batches.

Gradients are averaged over processes and, where gradients are accumulated, over micro-batches. A mean over each part's own
boxes (pixels, images) would then weigh those of a part that has few of them more. A part's loss is therefore its own sum,
divided by the number that is counted in the whole step, times the number of parts: the average over the parts is what one
process computes that has all images in one batch.

What the whole step counts must be known before its first gradient. :class:`Window` holds it: each micro-batch is counted
first (:meth:`Window.counting`), then trained (:meth:`Window.training`), with the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_alone: ContextVar[bool] = ContextVar("alone", default=False)
_part: ContextVar[_Part | None] = ContextVar("part", default=None)


def over_ranks(count: Tensor) -> tuple[Tensor, int]:
    """``(sum of `count` over the parts of the step, their number)``; `count` is a scalar of this one.

    A part's loss is its sum · number / total. Every process must call it equally often.
    """
    return _summed(count.detach().to(torch.float32).reshape(()))


def summed(values: Tensor) -> Tensor:
    """The sum of `values`, of any shape, over the parts of the step; its gradient reaches only this part's.

    For a loss that is not a sum over images: :func:`of_the_whole` makes the average of its gradients over the parts that of
    one batch.
    """
    total, parts = _summed(values.detach())
    return values if parts == 1 else values + (total - values.detach())


def of_the_whole(loss: Tensor) -> Tensor:
    """A loss computed from :func:`summed` values: the same number in every part, and a gradient for its average over them."""
    parts = parts_of_step()
    return loss if parts == 1 else loss.detach() + parts * (loss - loss.detach())


def across(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """This part's columns of ``function(*tensors)``, computed on the columns of all parts together; without gradient.

    Args:
        function: tensors (K, P) -> (K, P).
        tensors: (K, p) of this part; the same p on every process.
    """
    tensors = tuple(tensor.detach() for tensor in tensors)
    part = _part.get()
    if part is not None:
        return part.across(function, tensors)
    return _across_processes(function, tensors)


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process asks no other: for losses that are computed on trial, by each as often as it needs."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


class Window:
    """What the losses of one optimiser step count, over its micro-batches and over all processes.

    Args:
        batches: micro-batches of the step, the same number on every process.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self._sums: list[list[Tensor]] = [[] for _ in range(batches)]
        self._columns: list[list[tuple[Tensor, ...]]] = [[] for _ in range(batches)]
        self._functions: list[Callable[..., Tensor]] = []
        self._totals: list[Tensor] = []
        self._shares: list[tuple[Tensor, ...]] = []
        self._closed = False

    @contextmanager
    def counting(self, index: int) -> Iterator[None]:
        """Inside, the losses of micro-batch `index` are only counted; what they come to means nothing."""
        assert not self._closed, "the totals of a step are fixed when its first micro-batch is trained"
        with _as_part(_Part(self, index, counting=True)), torch.no_grad():
            yield

    @contextmanager
    def training(self, index: int) -> Iterator[None]:
        """Inside, the losses of micro-batch `index` are divided by what the whole step counts."""
        self._close()
        with _as_part(_Part(self, index, counting=False)):
            yield

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for values in zip(*self._sums, strict=True):
            total = torch.stack(values).sum(0)
            if _processes() > 1:
                torch.distributed.all_reduce(total)
            self._totals.append(total)
        for function, parts in zip(self._functions, zip(*self._columns, strict=True), strict=True):
            joined = tuple(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
            own = _across_processes(function, joined)
            self._shares.append(own.split([part[0].shape[1] for part in parts], dim=1))
        self._sums, self._columns = [], []


class _Part:
    """A micro-batch of a window while its loss is computed: the calls that it makes, by their order."""

    def __init__(self, window: Window, index: int, *, counting: bool) -> None:
        self.window, self.index, self.is_counting = window, index, counting
        self._sums = self._columns = 0

    @property
    def parts(self) -> int:
        return self.window.batches * _processes()

    def summed(self, values: Tensor) -> Tensor:
        if self.is_counting:
            self.window._sums[self.index].append(values)
            return values
        self._sums += 1
        return self.window._totals[self._sums - 1]

    def across(self, function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> Tensor:
        if self.is_counting:
            self.window._columns[self.index].append(tensors)
            if self.index == 0:
                self.window._functions.append(function)
            return tensors[0]
        self._columns += 1
        return self.window._shares[self._columns - 1][self.index]


@contextmanager
def _as_part(part: _Part) -> Iterator[None]:
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def _processes() -> int:
    if _alone.get() or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def parts_of_step() -> int:
    """Processes times micro-batches: over how many losses the step averages."""
    part = _part.get()
    return _processes() if part is None else part.parts


def _summed(values: Tensor) -> tuple[Tensor, int]:
    """The sum over the parts of the step, and their number."""
    part, processes = _part.get(), _processes()
    if part is not None:
        return part.summed(values), part.parts
    if processes == 1:
        return values, 1
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total, processes


def _across_processes(function: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
    processes = _processes()
    if processes == 1:
        return function(*tensors)
    width, gathered = tensors[0].shape[1], []
    for tensor in tensors:
        # Neither gloo nor NCCL takes bools.
        sent = (tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor).contiguous()
        received = [torch.empty_like(sent) for _ in range(processes)]
        torch.distributed.all_gather(received, sent)
        gathered.append(torch.cat(received, dim=1).to(tensor.dtype))
    start = torch.distributed.get_rank() * width
    return function(*gathered)[:, start : start + width]
