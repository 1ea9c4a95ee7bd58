"""Randomness of a training step as a function of (seed, step, rank), never of how often a generator was called.

Drop-path and dropout draw from torch's default generators. They are seeded anew before every micro-batch, so a run that
was stopped and resumed draws what the run that was never stopped drew.

Every kind of dropout, as modules and as functions, is listed here (which layers there are, and a context in which none acts),
since a list of types in each caller misses some: ``nn.Dropout`` is not the base class of ``nn.Dropout2d``, and heads and
backbones of users call functions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backbones.layers import DropPath
from backbones.torch_internals import Dropout

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


_FUNCTIONS = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    torch.dropout, torch.dropout_, torch.feature_dropout, torch.feature_dropout_,
    torch.alpha_dropout, torch.alpha_dropout_, torch.feature_alpha_dropout, torch.feature_alpha_dropout_,
}  # fmt: skip
_PROBABILITIES: dict[type[nn.Module], str] = {
    Dropout: "p",
    DropPath: "rate",
    nn.MultiheadAttention: "dropout",
    nn.RNNBase: "dropout",
}
"""Kinds of layers that draw, and the attribute that says how often they drop."""


def dropouts(module: nn.Module) -> list[Dropout]:
    """All dropout layers in `module`: elements, channels (1d, 2d, 3d) and alpha dropout; each has a probability ``p``."""
    return [layer for layer in module.modules() if isinstance(layer, Dropout)]


def dropout_rates(model: nn.Module) -> dict[str, float]:
    """Probability of each dropout layer, by module name; a schedule may have moved it from what the model was built with."""
    return {name: float(layer.p) for name, layer in model.named_modules() if isinstance(layer, Dropout)}


def set_dropout_rates(model: nn.Module, rates: Mapping[str, float]) -> None:
    """Put back what :func:`dropout_rates` gave; layers that `rates` does not name keep theirs."""
    for name, layer in model.named_modules():
        if isinstance(layer, Dropout) and name in rates:
            layer.p = rates[name]


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Inside, two passes of `model` in training mode are equal: its dropout and stochastic depth are off.

    Layers get probability 0; called functions pass their input through, and a mask that is drawn with
    ``Tensor.bernoulli_(p)`` or ``torch.bernoulli`` (stochastic depth of timm and torchvision) is its expectation p, so that
    the usual division by p gives 1. Masks that are drawn in another way stay random.
    """
    kept = [
        (layer, name, getattr(layer, name))
        for kind, name in _PROBABILITIES.items()
        for layer in model.modules()
        if isinstance(layer, kind)
    ]
    try:
        for layer, name, _ in kept:
            setattr(layer, name, 0.0)
        with _Off():
            yield
    finally:
        for layer, name, probability in kept:
            setattr(layer, name, probability)


class _Off(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        values, kwargs = list(args), dict(kwargs or {})
        passed = values[0] if values else kwargs.get("input")
        if func in _FUNCTIONS:
            return passed
        if func in (Tensor.bernoulli_, Tensor.bernoulli, torch.bernoulli) and isinstance(passed, Tensor):
            in_place = func is Tensor.bernoulli_
            probability = values[1] if len(values) > 1 else kwargs.get("p", 0.5 if in_place else passed)
            return (passed if in_place else passed.clone()).copy_(torch.as_tensor(probability))
        if func is F.scaled_dot_product_attention:
            if len(values) > 4:
                values[4] = 0.0
            else:
                kwargs["dropout_p"] = 0.0
        return func(*values, **kwargs)
