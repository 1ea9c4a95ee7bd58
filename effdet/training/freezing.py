"""Freezing parts of a model: no gradients, and the same function in every step.

A frozen part stays in evaluation mode: its BatchNorm keeps its statistics, and stochastic depth and dropout are off. A layer
behind moving statistics or random depth would not be frozen, whatever its weights do.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from backbones.torch_internals import BatchNorm
from heads.structures import UserError


class Freezing:
    """What of a model is frozen: by ``freeze=`` throughout, and for a while by :meth:`during`."""

    def __init__(self, model: nn.Module, parts: Sequence[str]) -> None:
        self.model = model
        self.always = tuple(parts)
        self.for_now: tuple[str, ...] = ()
        self._held = freeze(model, self.always)
        self._held_for_now: tuple[nn.Module, ...] = ()
        self._waiting: list[nn.Parameter] = []

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything that is frozen at the moment, as :func:`freeze` takes it."""
        return self.always + self.for_now

    def during(self, parts: Sequence[str]) -> None:
        """Freeze `parts` until the next call, beside what is always frozen; what an earlier call froze trains again.

        The modes of the modules follow with the next :meth:`hold`, which ``VisionModule.train`` calls.
        """
        for parameter in self._waiting:
            parameter.requires_grad_(True)
        before = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.for_now = tuple(parts)
        self._held_for_now = freeze(self.model, self.for_now)
        self._waiting = [parameter for parameter in before if not parameter.requires_grad]

    def hold(self) -> None:
        """Puts what is frozen into evaluation mode."""
        for module in self._held + self._held_for_now:
            module.eval()


def freeze(model: nn.Module, parts: Sequence[str]) -> tuple[nn.Module, ...]:
    """Freeze `parts` of a model in place.

    Args:
        parts: ``backbone``, ``neck``, ``heads``, the name of one head, ``bn`` (every BatchNorm: scale, shift and
            statistics), or the dotted path of any sub-module, such as ``backbone.stem``.

    Returns:
        The modules to hold in evaluation mode, with all that is inside them.
    """
    held: dict[int, nn.Module] = {}
    for part in parts:
        for module in _modules(model, part):
            module.requires_grad_(False)
            held[id(module)] = module
    return tuple(held.values())


def _modules(model: nn.Module, part: str) -> list[nn.Module]:
    if part == "bn":
        return [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    named = dict(model.named_modules())
    for name in (part, f"heads.{part}"):
        if name and name in named:
            return [named[name]]
    heads = [name.removeprefix("heads.") for name in named if name.startswith("heads.") and name.count(".") == 1]
    top = [name for name, child in model.named_children() if child is not None]
    raise UserError(
        f"freeze={part!r} is not a part of this model; use bn, {', '.join([*top, *heads])}, "
        "or the dotted path of a sub-module such as backbone.stem"
    )
