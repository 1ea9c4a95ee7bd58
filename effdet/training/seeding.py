"""Randomness of a training step as a function of (seed, step, rank), never of how often a generator was called.

Drop-path and dropout draw from torch's default generators. They are seeded anew before every micro-batch, so a run that
was stopped and resumed draws what the run that was never stopped drew.
"""

from __future__ import annotations

import random

import torch

_MASK = (1 << 64) - 1


def step_seed(seed: int, step: int, rank: int) -> int:
    """A 64-bit seed of micro-batch `step` (counted over the whole run) on process `rank`.

    Each number passes through the finaliser of SplitMix64 (Steele et al., OOPSLA 2014), so that neighbouring steps get
    unrelated seeds.
    """
    state = 0
    for number in (seed, step, rank):
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def seed_step(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Seed the generators that a step on `device` draws from (2 µs; `torch.manual_seed` visits every backend)."""
    number = step_seed(seed, step, rank)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number)
    elif device.type != "cpu":
        torch.manual_seed(number)


def seed_all(seed: int) -> None:
    """Seed Python, NumPy's legacy generator and torch, for what is drawn before the first step: a model's first weights."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed % 2**64)  # larger ones are refused with a traceback
