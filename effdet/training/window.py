"""Gradient accumulation: k micro-batches give the gradient of one batch.

A detection loss is a sum divided by the number of positive anchors, a segmentation map's by that of labelled pixels;
accumulating the mean of each micro-batch would weigh an anchor by how few others its micro-batch has. So the whole step is
counted before its first gradient (:class:`heads.ranks.Window`). Where targets decide the counts, that is all; where predictions
do (the matcher ``tal``, hard pixels, Dice, Lovász), the other micro-batches pass the network once more, without gradients: some
third of their time. BatchNorm's statistics of a batch stay those of each micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from effdet.training.batchnorm import statistics_kept
from heads.protocol import Context
from heads.ranks import Window
from heads.structures import Targets


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
