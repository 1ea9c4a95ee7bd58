"""What a backbone is to the rest of the model: maps at fixed strides, and their widths.

A level is named by its stride, in the paper's numbers: C1 = 2, C2 = 4, C3 = 8, C4 = 16, C5 = 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

LEVELS = {2: "C1", 4: "C2", 8: "C3", 16: "C4", 32: "C5"}
"""Stride -> name of the level."""
NEEDED = (8, 16, 32)
"""Strides that every backbone has. Segmentation on a fine pyramid also needs 4."""


@runtime_checkable
class Backbone(Protocol):
    """A ``torch.nn.Module`` whose output is one map for each of `strides`.

    Optional: ``fold(fold_norm)`` prepares a copy for prediction, ``grad_checkpointing`` (bool) trades time for memory,
    ``mean``, ``std`` (RGB, of pixels in 0…1) and ``image_size`` (pixels, of the square input that it was designed for) decide
    preprocessing and scaling.
    """

    @property
    def channels(self) -> Sequence[int]:
        """Width of each map."""
        ...

    @property
    def strides(self) -> Sequence[int]:
        """Of each map, rising; 8, 16 and 32 among them."""
        ...

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """(B, 3, H, W) float images -> maps, each (B, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""
        ...

    def __call__(self, images: Tensor) -> Sequence[Tensor]: ...


def widths(backbone: Backbone) -> dict[str, int]:
    """Channels by the name of the level."""
    return {LEVELS[stride]: channels for stride, channels in zip(backbone.strides, backbone.channels, strict=True)}


def by_level(backbone: Backbone, maps: Sequence[Tensor]) -> dict[str, Tensor]:
    """The maps of `backbone` by the name of their level."""
    return {LEVELS[stride]: x for stride, x in zip(backbone.strides, maps, strict=True)}


def check_strides(name: str, strides: Sequence[int]) -> None:
    """Refuse strides that necks and heads cannot use.

    Raises:
        ValueError: one of ``NEEDED`` is missing, or another stands beside them.
    """
    shown = ", ".join(map(str, strides))
    if missing := [stride for stride in NEEDED if stride not in strides]:
        raise ValueError(
            f"backbone {name} has maps at strides {shown} and none at {missing[0]}; it must have 8, 16 and 32"
        )
    if list(strides) != sorted(set(strides) & set(LEVELS)):
        raise ValueError(f"backbone {name} has maps at strides {shown}; they must rise, and be some of 2, 4, 8, 16, 32")


def check_backbone(name: str, backbone: object, size: tuple[int, int] = (72, 100)) -> None:
    """Compare what a backbone says of its maps with what it computes for one image of `size` (height, width).

    Raises:
        ValueError: it is not a module, or its strides, widths or sizes are not as :class:`Backbone` says.
    """
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"backbone {name} is a {type(backbone).__name__}; it must be a torch.nn.Module")
    for attribute in ("channels", "strides"):
        if not hasattr(backbone, attribute):
            raise ValueError(f"backbone {name} has no attribute {attribute!r}; it must have channels and strides")
    assert isinstance(backbone, Backbone)
    check_strides(name, backbone.strides)
    if len(backbone.channels) != len(backbone.strides):
        raise ValueError(
            f"backbone {name} has {len(backbone.channels)} channels for {len(backbone.strides)} strides; give one for each"
        )
    weight = next(backbone.parameters(), None)
    mode = backbone.training
    try:
        with torch.no_grad():
            maps = backbone.eval()(torch.zeros(1, 3, *size, device=None if weight is None else weight.device))
    except (RuntimeError, AssertionError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"backbone {name} takes no image of {size[0]} x {size[1]} pixels, and must take any: {reason}"
        ) from error
    finally:
        backbone.train(mode)
    if not isinstance(maps, list | tuple) or not all(isinstance(x, Tensor) for x in maps):
        raise ValueError(
            f"backbone {name} gives a {type(maps).__name__}; it must give a list of tensors, one for each stride"
        )
    found = [tuple(x.shape[1:]) for x in maps]
    requested = [
        (channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    if found != requested:
        raise ValueError(
            f"backbone {name} gives maps (channels, height, width) {found} for an image of {size[0]} x {size[1]} pixels; its "
            f"channels and strides say {requested}"
        )
