"""The training loader as the trainer sees it: a position (epoch, batches consumed), and nothing else to remember.

Gradient accumulation: k micro-batches give the gradient of one batch.

A detection loss is a sum divided by the number of positive anchors, a segmentation map's by that of labelled pixels;
accumulating the mean of each micro-batch would weigh an anchor by how few others its micro-batch has. So the whole step is
counted before its first gradient (:class:`heads.ranks.Window`). Where targets decide the counts, that is all; where predictions
do (the matcher ``tal``, hard pixels, Dice, Lovász), the other micro-batches pass the network once more, without gradients: some
third of their time. BatchNorm's statistics of a batch stay those of each micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, Protocol

import torch
from torch import nn

from effdet.training.batchnorm import statistics_kept
from heads.protocol import Context
from heads.ranks import Window
from heads.structures import Batch, Targets, UserError


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
    """Starts each epoch where it is told to.

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
                if len({batch.images.shape[2:] for batch in window}) > 1:
                    raise UserError(
                        f"trainer.accumulate_grad_batches={accumulate}: the batches of an optimiser step have different "
                        "canvases; with augment.multi_scale, set it to the same number throughout"
                    )
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


def counted_step(
    model: nn.Module,
    first: tuple[Any, Context],
    targets: Sequence[Targets],
    outputs_of: Callable[[int], tuple[Any, Context]],
) -> Window | None:
    """Count an optimiser step.

    Args:
        model: a `VisionModel`; None comes back for one that has no ``count``, whose losses are averaged as they are.
        first: outputs and context of the step's first micro-batch, by the pass that will be trained.
        targets: of each micro-batch, on the model's device.
        outputs_of: gives those of a further micro-batch, with the random choices of the pass that will be trained. It is
            called without gradients, and only where predictions count.
    """
    count = getattr(model, "count", None)
    if count is None:
        return None
    window = Window(len(targets))
    predictions = bool(model.counts_predictions)
    with torch.no_grad(), statistics_kept(model) if predictions else nullcontext():
        for index, each in enumerate(targets):
            outputs, context = first if index == 0 or not predictions else outputs_of(index)
            with window.counting(index):
                if predictions:
                    model.loss(outputs, each, context)  # type: ignore[operator]
                else:
                    count(outputs, each, context)
    return window
