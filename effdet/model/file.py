"""Model files: an :class:`Architecture` as JSON, what `scale` and `search` write and ``architecture.path`` takes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones.fields import check_keys
from backbones.scaling import BackboneSpec
from effdet.files import FileError, read_json, write_text
from effdet.model.architecture import Architecture, HeadScaling
from effdet.necks import NeckSpec
from heads.structures import UserError

FORMAT = 1
"""Version of the file; raised when an old reader could misread a new one."""
_REQUIRED = ("format", "name", "backbone", "image_size")
_KEYS = (*_REQUIRED, "neck", "head", "made_by")


def to_dict(architecture: Architecture) -> dict[str, Any]:
    """JSON-able values; :func:`from_dict` gives the equal architecture."""
    return {
        "format": FORMAT,
        "name": architecture.name,
        "image_size": list(architecture.image_size),
        "backbone": architecture.backbone.to_dict(),
        "neck": None if architecture.neck is None else architecture.neck.to_dict(),
        "head": None if architecture.head is None else architecture.head.to_dict(),
        "made_by": dict(architecture.made_by),
    }


def from_dict(values: Mapping[str, Any]) -> Architecture:
    """The architecture of a model file's values.

    Raises:
        UserError: written by a newer version, a part is missing or unknown, or has values that make no network.
    """
    version = values.get("format")
    if version != FORMAT:
        fix = "update effdet" if isinstance(version, int) and version > FORMAT else "it is no model file"
        raise UserError(f"has format {version!r}, this version reads {FORMAT}; {fix}")
    if missing := [key for key in _REQUIRED if key not in values]:
        raise UserError(f"lacks {', '.join(missing)}; a model file has {', '.join(_KEYS)}")
    check_keys(values, _KEYS, what="model", error=UserError)
    neck, head = values.get("neck"), values.get("head")
    try:
        return Architecture(
            name=str(values["name"]),
            backbone=BackboneSpec.from_dict(values["backbone"]),
            image_size=_size(values["image_size"]),
            neck=None if neck is None else NeckSpec.from_dict(neck),
            head=None if head is None else HeadScaling.from_dict(head),
            made_by=values.get("made_by") or {},
        )
    except (ValueError, TypeError, AttributeError) as error:  # a table with the wrong fields, or of the wrong types
        raise UserError(" ".join(str(error).split())) from error


def read_model_file(path: str | os.PathLike[str]) -> Architecture:
    """The architecture in the JSON file at `path`.

    Raises:
        UserError: there is no such file, it is not JSON, or see :func:`from_dict`; one line that names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such model file; scale and search write them")
    try:
        values = read_json(path)
    except FileError as error:
        raise UserError(f"{error}; a model file is written by scale or search") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no JSON object; a model file has {', '.join(_KEYS)}")
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def write_model_file(path: str | os.PathLike[str], architecture: Architecture) -> Path:
    """Write `architecture` to `path`, whole or not at all; returns the path."""
    return write_text(path, json.dumps(to_dict(architecture), indent=1, ensure_ascii=False) + "\n")


def _size(value: Any) -> tuple[int, int]:
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise UserError(f"image_size={value!r} must be a side or [height, width] in pixels")
    return sides[0], sides[1]
