"""Losses of a training beside those of the heads: they read a batch, outputs and features, and may hold weights of their own.

What they hold is trained and saved with the run, for its resume; it is no part of the model, which is averaged, evaluated and
exported without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heads.protocol import Context
from heads.structures import Batch


@dataclass(frozen=True)
class Run:
    """What a loss may know of the run that it is part of."""

    average: nn.Module | None
    """The averaged model, in evaluation mode; None in a run without one."""
    number: Callable[[], int]
    """Gives the number of the micro-batch in training, counted over the whole run from 0."""
    rank: int = 0
    world: int = 1


class ExtraLoss(nn.Module):
    """A loss beside the heads'.

    Modules that it reads and does not train are named by :meth:`companions`, and registered nowhere: they follow this module
    to its device and are in no state.
    """

    levels: tuple[str, ...] = ()
    _run: tuple[Run, ...] = ()  # in a tuple, so that its model is no part of this one
    """Features of the model that it reads."""

    def forward(self, model: nn.Module, batch: Batch, outputs: dict[str, Any], context: Context) -> dict[str, Tensor]:
        """Weighted float32 scalars by ``NAME/TERM``, each a mean over the images of the batch: of processes and micro-batches,
        all of one size, the average is then that of one batch.

        Args:
            model: in training.
            batch: as the model saw it.
            outputs: the model's, with its ``features``.
            context: of the batch.
        """
        raise NotImplementedError

    @property
    def run(self) -> Run | None:
        """The run, from its first step on."""
        return self._run[0] if self._run else None

    def attach(self, run: Run) -> None:
        """Called before the first step."""
        self._run = (run,)

    def trial(self, model: nn.Module, batch: Batch, outputs: dict[str, Any], context: Context) -> dict[str, Tensor]:
        """:meth:`forward` as heavy as it gets, before there is a run: the memory of it is measured."""
        return self(model, batch, outputs, context)

    def epoch_values(self) -> dict[str, float]:
        """Numbers about the epoch that has just ended, for the loggers; called once an epoch, on every process."""
        return {}

    def close(self) -> None:
        """Ends whatever processes it started."""

    def companions(self) -> Iterable[nn.Module]:
        """Modules that move with this one, in evaluation mode throughout."""
        return ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExtraLoss:
        for module in self.companions():
            module._apply(fn, recurse)
        return super()._apply(fn, recurse)


def all_levels(losses: Iterable[nn.Module]) -> tuple[str, ...]:
    """The features that any of `losses` reads."""
    return tuple(dict.fromkeys(level for loss in losses for level in loss.levels))  # type: ignore[union-attr]


def model_outputs(
    model: nn.Module, images: Tensor, progress: float | Tensor, losses: Iterable[nn.Module]
) -> dict[str, Any]:
    """What `model` gives for normalised `images`, with the features that `losses` read."""
    levels = all_levels(losses)
    return model(images, progress, levels=levels) if levels else model(images, progress)


def extra_terms(
    losses: Iterable[nn.Module], model: nn.Module, batch: Batch, outputs: dict[str, Any], context: Context
) -> dict[str, Tensor]:
    """The terms of all `losses`, in float32 whatever the autocast."""
    found: dict[str, Tensor] = {}
    for loss in losses:
        found |= {name: term.to(torch.float32) for name, term in loss(model, batch, outputs, context).items()}
    return found
