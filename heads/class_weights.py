"""Weights by which rare classes count more in a loss, from how often each class occurs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from heads.errors import UserError

BOX_RULES = ("sqrt", "effective")
"""What :func:`box_weights` knows."""
BETA = 0.999
"""Cui et al. 2019 try 0.9 to 0.9999; with this one, a class of more than some 3,000 boxes counts as full."""


def box_weights(boxes: Sequence[int], rule: str) -> tuple[float, ...]:
    """Weights of classes with so many `boxes` each; their mean over all boxes is 1, so that the loss keeps its scale.

    Rules, of a class with n boxes:
        sqrt       1 / sqrt(n)
        effective  (1 - b) / (1 - b**n) with b = 0.999: one over the effective number of samples (Cui et al. 2019, equation
                   2): as 1 / n for rare classes, and the same for all frequent ones

    A class without a box gets 1.

    Raises:
        UserError: there is no such rule, or no box.
    """
    if rule not in BOX_RULES:
        raise UserError(f"class_weights={rule!r} is unknown; use one of {', '.join(BOX_RULES)}, or a list of numbers")
    if not any(boxes):
        raise UserError(f"class_weights={rule}: the training images have no box at all")
    formula = {"sqrt": lambda n: 1 / math.sqrt(n), "effective": lambda n: (1 - BETA) / (1 - BETA**n)}[rule]
    raw = [formula(count) if count > 0 else 0.0 for count in boxes]
    mean = sum(weight * count for weight, count in zip(raw, boxes, strict=True)) / sum(boxes)
    return tuple(weight / mean if weight else 1.0 for weight in raw)


@lru_cache(maxsize=16)
def on_device(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """(K,) float32, copied once: the host would wait for the device at every copy."""
    with torch.inference_mode(False):
        return torch.tensor(weights, dtype=torch.float32, device=device)
