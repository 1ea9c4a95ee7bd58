"""Freezing parts of a model: no gradients, and BatchNorm that keeps its statistics."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from heads.structures import UserError


def freeze(model: nn.Module, parts: Sequence[str]) -> tuple[nn.Module, ...]:
    """Freeze `parts` of a model in place.

    Args:
        model: has ``backbone``, ``neck`` and ``heads``.
        parts: ``backbone``, ``neck``, ``heads``, the name of one head, ``bn`` (every BatchNorm: scale, shift and
            statistics), or the dotted path of any sub-module, such as ``backbone.stem``.

    Returns:
        The BatchNorm layers to hold in evaluation mode: those inside a frozen part too, since a frozen layer behind
        moving statistics would not be frozen.
    """
    held: dict[int, nn.Module] = {}
    for part in parts:
        for module in _modules(model, part):
            for parameter in module.parameters():
                parameter.requires_grad_(False)
            held |= {id(layer): layer for layer in module.modules() if isinstance(layer, _BatchNorm)}
    return tuple(held.values())


def _modules(model: nn.Module, part: str) -> list[nn.Module]:
    if part == "bn":
        return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    named = dict(model.named_modules())
    for name in (part, f"heads.{part}"):
        if name and name in named:
            return [named[name]]
    heads = [name.removeprefix("heads.") for name in named if name.startswith("heads.") and name.count(".") == 1]
    top = [name for name, child in model.named_children() if child is not None]
    raise UserError(
        f"freeze={part!r} is no part of this model; use bn, {', '.join([*top, *heads])}, "
        "or the dotted path of a sub-module such as backbone.stem"
    )
