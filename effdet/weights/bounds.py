"""What a file may ask for before it is believed: no more memory than it has bytes, no model larger than its weights.

A few kilobytes can describe terabytes: compressed zeros in a zip, one number stretched to a tensor of any shape, a model
description with a million layers. Each is refused by looking at sizes alone.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from effdet import plugins
from effdet.model import ModelSpec, VisionModel, build
from heads.structures import UserError

MAX_NUMBER = 65536
"""The largest side, width or count that a model description may hold; the largest in use are some thousands."""
MAX_DEPTH = 16


class BoundsError(UserError):
    """A file that asks for more than it holds."""


def check_archive(path: Path) -> None:
    """Refuse a zip file that holds more than its own size. torch stores its parts without compression.

    Raises:
        BoundsError: entries are compressed, or overlap.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        return  # no zip file, or a corrupt one: its reader will say so
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BoundsError(f"{path} is a compressed archive, as PyTorch never writes: it is not unpacked")
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size:
        raise BoundsError(
            f"{path} of {path.stat().st_size:,} bytes states parts of {total:,} bytes; it is not unpacked"
        )


def check_tensor(name: str, tensor: Tensor, source: str, limit: int | None) -> None:
    """Refuse a tensor of an odd kind, or with more numbers than were stored for it.

    Args:
        name: its key.
        tensor: as read.
        source: for the message.
        limit: bytes of the file; None where there is none.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        raise BoundsError(
            f"{source}: {name!r} is a sparse, quantised, nested or empty-handed tensor; weights are plain ones"
        )
    if limit is not None and tensor.numel() * tensor.element_size() > limit:
        raise BoundsError(f"{source}: {name!r} of shape {tuple(tensor.shape)} is larger than the file it comes from")


def build_described(values: Any, tensors: Mapping[str, Tensor], source: str, *, trust: bool = False) -> VisionModel:
    """The model of a description that came with `tensors`, with fresh weights.

    Args:
        source: the file, for errors.
        trust: import the classes that the description names, which the user didn't.

    Raises:
        UserError: it names such a class, and is not trusted.
        BoundsError: the description is no model, or one far larger than the weights beside it.
    """
    plugins.check_trust(plugins.targets(values), origin=source, trust=trust, again=False)
    try:
        _check_numbers({key: value for key, value in values.items() if key != "classes"})
        spec = ModelSpec.from_dict(values)
        with torch.device("meta"):
            requested = sum(value.numel() for value in build(spec).state_dict().values())
        if requested > 2 * sum(value.numel() for value in tensors.values()) + 1_000_000:
            raise BoundsError(f"it describes a model of {requested:,} numbers, and holds far fewer")
        return build(spec)
    except (UserError, KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RuntimeError,
            NotImplementedError, AssertionError, RecursionError) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BoundsError(f"{source}: its description makes no model ({reason})") from None


def _check_numbers(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise BoundsError("it is nested too deep")
    if isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER:
        raise BoundsError(f"it holds the number {value:.3g}, and {MAX_NUMBER} is the largest that makes sense")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_numbers(item, depth + 1)
