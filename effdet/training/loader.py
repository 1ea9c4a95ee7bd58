"""The training loader as the trainer sees it: a position (epoch, batches consumed), and nothing else to remember."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from heads.structures import Batch


class TrainBatches(Protocol):
    """What `effdet.data.TrainLoader` offers: the batches of an epoch, from any of them on.

    It may also say ``batch_size``, the images that its batches really hold, and ``largest_epoch``, an epoch with the largest
    canvas; else they are taken to be what was asked for, and 0.
    """

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def close(self) -> None: ...


class LoaderFactory(Protocol):
    """Builds the loader of one process."""

    def __call__(self, *, batch_size: int, rank: int, world: int) -> TrainBatches: ...


class ResumableLoader:
    """Starts each epoch where it is reported to.

    Workers read ahead, so a loader's own position runs ahead of the trainer's. What counts is what the trainer has
    consumed: the checkpoint holds that number, and :meth:`seek` goes there.

    Args:
        accumulate: gives the number of batches of an optimiser step. With more than one, those of a step are read before
            the first of them is handed on, and :meth:`window` has them: its losses are divided by what all of them count.
    """

    def __init__(self, batches: TrainBatches, accumulate: Callable[[], int] = lambda: 1) -> None:
        self.batches = batches
        self.accumulate = accumulate
        self.limit: int | None = None
        """Batches of an epoch that are trained, where that is fewer than there are."""
        self._windows: dict[int, list[Batch]] = {}
        self.batches.set_epoch(0, 0)
        self._length = len(batches)
        self.epoch = self.start = 0

    def batch_size(self, asked: int) -> int:
        """Images of a batch, for a loader that was asked for `asked`: fewer where the set is smaller than that."""
        return getattr(self.batches, "batch_size", asked)

    def seek(self, epoch: int, batch: int = 0) -> None:
        """The next iteration gives the batches of `epoch` from number `batch` on."""
        self.epoch, self.start = epoch, batch

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever it starts."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        self.batches.set_epoch(self.epoch, self.start)
        self._windows = {}
        return self._steps(iter(self.batches), self.start)

    def _steps(self, batches: Iterator[Batch], number: int) -> Iterator[Batch]:
        end = self._length if self.limit is None else self.limit
        while True:
            accumulate = self.accumulate()
            requested = accumulate - number % accumulate  # a run that is resumed within a step has its rest
            window = list(islice(batches, min(requested, max(end - number, 1))))
            if not window:
                return
            if accumulate > 1:
                self._windows[number] = list(window)
            number += len(window)
            while window:
                yield window.pop(0)  # not kept here while it is trained

    def window(self, number: int) -> list[Batch] | None:
        """The batches of the optimiser step that begins with batch `number` of the epoch, once; None where none begins."""
        return self._windows.pop(number, None)

    def close(self) -> None:
        """Ends whatever processes load."""
        self.batches.close()

    # Lightning asks for these two before it trusts a loader to resume in mid-epoch; `seek` does the work.
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class OneItem:
    """The validation loop's loader: a single item, whose step runs the one evaluation loop."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return iter((0,))
