"""How a batch comes from a loader's worker: through memory that both share, used again and again.

PyTorch makes a file in shared memory for each tensor of each batch. Its pages are cleared and mapped anew every time, which
takes longer than writing to them; each tensor is an open file; and containers often have 64 MiB for all of them. Here each
worker has a few places, made once, before it is forked. It copies the large tensors of a batch into the next one, and the
training process copies them out before it asks the worker for another batch.
"""

from __future__ import annotations

import itertools
import mmap
import multiprocessing
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from effdet.data.train_set import Sample
from heads.structures import Batch

LARGE = 1 << 16
"""Bytes from which on a tensor goes through the shared places; smaller ones are sent with the message."""
_numbers = itertools.count()
_known: weakref.WeakValueDictionary[int, SharedBuffers] = weakref.WeakValueDictionary()


class SharedBuffers:
    """Memory for the batches that are on their way.

    A loader gives a worker a new task when it has received a batch, and hands that batch on just after. So at most `ahead`
    batches of a worker wait or are being made while one more is copied out: `ahead` + 1 places in turn are never written to
    too early.

    Args:
        workers: processes that write.
        ahead: batches that each makes ahead.
        size: bytes of the largest batch. Larger ones travel PyTorch's way.
    """

    def __init__(self, workers: int, ahead: int, size: int) -> None:
        self.number = next(_numbers)
        self._shape = (workers, ahead + 1, size)
        # Anonymous, so it counts for no mount's limit. A page takes memory when it is first written to.
        self._memory = torch.frombuffer(mmap.mmap(-1, workers * (ahead + 1) * size), dtype=torch.uint8).view(
            self._shape
        )
        self._turn = 0
        _known[self.number] = self

    @staticmethod
    def possible() -> bool:
        """Whether workers inherit memory: those that are forked do."""
        return multiprocessing.get_start_method() == "fork"

    def pack(self, batch: Batch, worker: int) -> Batch | SharedBatch:
        """For `worker` to call, in its own process; the batch itself where it is too large."""
        place = self._turn % self._shape[1]
        target, used = self._memory[worker, place], 0

        def stored(tensor: Tensor) -> TensorSlot | np.ndarray:
            nonlocal used
            if tensor.nbytes < LARGE:
                return tensor.numpy()
            last = tensor.ndim == 4 and not tensor.is_contiguous()
            values = tensor.permute(0, 2, 3, 1) if last else tensor
            found = TensorSlot(used, tuple(values.shape), values.dtype, last)
            used += -(-tensor.nbytes // 64) * 64
            if used <= len(target):
                found.of(target).copy_(values)
            return found

        shared = SharedBatch(self.number, worker, place, _mapped(batch, stored))
        if used > len(target):
            return batch
        self._turn += 1
        return shared

    def at(self, worker: int, place: int) -> Tensor:
        """(size,) uint8."""
        return self._memory[worker, place]


@dataclass(frozen=True)
class TensorSlot:
    """Where a tensor lies in its place."""

    start: int
    shape: tuple[int, ...]
    """As it lies in memory."""
    dtype: torch.dtype
    channels_last: bool

    def of(self, place: Tensor) -> Tensor:
        """The tensor itself, in `place`, as it lies in memory."""
        size = torch.Size(self.shape).numel() * self.dtype.itemsize
        return place[self.start : self.start + size].view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class SharedBatch:
    """A batch without its large tensors, which wait in a place."""

    number: int
    worker: int
    place: int
    content: Any
    """A :class:`Batch` with arrays and :class:`TensorSlot` in place of its tensors."""

    def open(self, *, pinned: bool = False) -> Batch:
        """The batch, with memory of its own."""
        place = _known[self.number].at(self.worker, self.place)

        def fetched(value: TensorSlot | np.ndarray) -> Tensor:
            if isinstance(value, np.ndarray):
                tensor = torch.from_numpy(value)
                return tensor.pin_memory() if pinned else tensor
            inside = value.of(place)
            tensor = torch.empty(inside.shape, dtype=inside.dtype, pin_memory=pinned).copy_(inside)
            return tensor.permute(0, 3, 1, 2) if value.channels_last else tensor

        return _mapped(self.content, fetched)

    def pin_memory(self, device: Any = None) -> Batch:
        """What PyTorch's pinning thread calls, as soon as the shared batch is there."""
        return self.open(pinned=True)


class SharedCollate:
    """A function that makes batches, and in a worker packs them."""

    def __init__(self, collate: Callable[[Sequence[Sample]], Batch], buffers: SharedBuffers) -> None:
        self._collate, self._buffers = collate, buffers

    def __call__(self, samples: Sequence[Sample]) -> Batch | SharedBatch:
        batch, worker = self._collate(samples), get_worker_info()
        return batch if worker is None else self._buffers.pack(batch, worker.id)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with every tensor, array or :class:`TensorSlot` in its fields changed."""
    if isinstance(value, (Tensor, np.ndarray, TensorSlot)):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _mapped(getattr(value, item.name), change) for item in fields(value)})
    return value
