"""Losses of a training beside those of the heads: they read a batch, outputs and features, and may hold weights of their own.

What they hold is trained and saved with the run, for its resume; it is no part of the model, which is averaged, evaluated and
exported without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from heads.protocol import Context
from heads.structures import Batch


class ExtraLoss(nn.Module):
    """A loss beside the heads'.

    Modules that it reads and does not train are named by :meth:`companions`, and registered nowhere: they follow this module
    to its device and are in no state.
    """

    levels: tuple[str, ...] = ()
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
