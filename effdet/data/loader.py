"""Loaders: PyTorch's, with workers that persist, and with nothing to remember but the epoch and the consumed
batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np
import torch
from torch.utils.data import DataLoader

from backbones.torch_internals import end_workers
from effdet.data.checks import DataError
from effdet.data.collate import collate
from effdet.data.sampling import EpochSampler
from effdet.data.shared_memory import SharedBatch, SharedBuffers, SharedCollate
from effdet.data.train_set import Sample, TrainSet
from effdet.workers import ignore_interrupt, ignore_signals_in_children
from heads.structures import Batch, UserError

ROOM = 1 << 14
"""Bytes of an image's boxes and labels: 800 objects."""


class TrainLoader:
    """Iterates over the batches of one epoch; call :meth:`set_epoch` before each.

    The batches depend on (seed, epoch, rank, world, batch_size) and on the set, not on the number of workers nor on
    what was loaded ahead: the state to save is the epoch and the number of batches *consumed*.
    """

    def __init__(
        self,
        train_set: TrainSet,
        batch_size: int,
        *,
        workers: int = 0,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
        factors: np.ndarray | None = None,
        pin_memory: bool = False,
        prefetch: int = 2,
        accumulate: int = 1,
        collate: Callable[[Sequence[Sample]], Batch] = collate,
    ) -> None:
        """
        Args:
            train_set: the samples.
            batch_size: images a step on this rank.
            workers: processes that load; 0 loads in this one.
            seed: of the order; the set's own if None.
            rank: of this process, among
            world: processes, which all see the same order and take disjoint parts of it.
            factors: from :func:`effdet.data.sampling.repeat_factors`, to repeat images of rare classes.
            pin_memory: for faster copies to a GPU.
            prefetch: batches that each worker makes ahead.
            accumulate: batches of an optimiser step, which have one canvas.
            collate: makes a batch of samples, as a function of only them.
        """
        if workers < 0:
            raise UserError(f"workers={workers} must not be negative")
        self.train_set = train_set
        self.sampler = EpochSampler(
            len(train_set),
            batch_size,
            seed=train_set.seed if seed is None else seed,
            rank=rank,
            world=world,
            factors=factors,
            groups=train_set.source.groups,
            window=train_set.source.window,
            sizes=train_set.sizes,
            accumulate=accumulate,
        )
        self._buffers = _buffers(train_set, self.sampler.batch_size, workers, prefetch)
        self._loader = DataLoader(
            train_set,  # type: ignore[arg-type]  # its keys are tuples, which Dataset's type leaves open
            batch_sampler=self.sampler,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=collate if self._buffers is None else SharedCollate(collate, self._buffers),
            persistent_workers=workers > 0,
            prefetch_factor=prefetch if workers > 0 else None,
            pin_memory=pin_memory,
            worker_init_fn=one_thread,
            # DataLoader draws a base seed at each epoch; from a generator of its own, the run's stays untouched.
            generator=torch.Generator().manual_seed(0),
        )

    @property
    def batch_size(self) -> int:
        """Images in each batch of this rank; the set's size where that is smaller than what was asked for."""
        return self.sampler.batch_size

    @property
    def largest_epoch(self) -> int:
        """An epoch whose first batch has the largest canvas of the run."""
        first, largest = self.train_set.largest_epoch, self.sampler.sizes - 1
        return next(epoch for epoch in count(first) if self.sampler.size_at(epoch, 0) == largest)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of a whole epoch."""
        return self.sampler.steps

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Chooses the epoch to iterate over, and how many of its batches are already consumed."""
        self.sampler.set_epoch(epoch, start_batch)

    def __len__(self) -> int:
        """Batches that the next iteration gives."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        self.train_set.warm_up()
        try:
            with ignore_signals_in_children():
                batches = iter(self._loader)
            for batch in batches:
                yield batch.open() if isinstance(batch, SharedBatch) else batch
        except DataError as error:
            raise DataError(own_text(error)) from None

    def close(self) -> None:
        """Ends the workers; iterating again starts new ones.

        PyTorch has no public way to do so, and left to the garbage collector they hear of it five seconds late.
        """
        end_workers(self._loader)


def _buffers(train_set: TrainSet, batch_size: int, workers: int, prefetch: int) -> SharedBuffers | None:
    """Room for batches of the set's images, with a segmentation map each; None where workers can't share it, or it can't be
    had."""
    if workers == 0 or not SharedBuffers.possible():
        return None
    height, width = train_set.largest_size
    try:
        return SharedBuffers(workers, prefetch, batch_size * (4 * height * width + ROOM))
    except OSError:  # a machine that promises no more memory than it has; PyTorch's way asks for it bit by bit
        return None


def one_thread(worker: int) -> None:
    """Keeps a worker to one thread: the machine's cores go to workers, not to threads that fight over them."""
    ignore_interrupt(worker)
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(0)


def own_text(error: Exception) -> str:
    """The message of an error that crossed from a worker, without the traceback that PyTorch puts before it."""
    text = str(error)
    return text.rsplit("DataError: ", 1)[-1].strip() if "Original Traceback" in text else text
