"""Every kind of dropout, as modules and as functions: which layers there are, and a context in which none acts.

The rule has one place, since a list of types in each caller misses some: ``nn.Dropout`` is not the base class of
``nn.Dropout2d``, and heads and backbones of users call functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backbones.layers import DropPath
from backbones.torch_internals import Dropout

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
