"""An architecture without a task: backbone, neck, head scaling and input size, as scaling and search find them.

A model file is one as JSON: what `scale` and `search` write and ``architecture.path`` takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from backbones.fields import as_lists, build, check_keys
from backbones.spec import AnyBackboneSpec, BackboneSpec
from effdet.files import FileError, read_json, write_text
from effdet.necks import NeckSpec
from effdet.scaling import PAPER_ASPECTS, DetectorRow, detector_phi
from heads.fields import check_fields
from heads.structures import UserError

FORMAT = 1
"""Version of the file; raised when an old reader could misread a new one."""
_REQUIRED = ("format", "name", "backbone", "image_size")
_KEYS = (*_REQUIRED, "neck", "head", "made_by")


@dataclass(frozen=True)
class HeadScaling:
    """What the scaling says about the class and box nets."""

    repeats: Annotated[int, "0.."] = 3
    """D_box = D_class, convolutions before the last one."""
    anchor_scale: Annotated[float, "0<.."] = 4.0
    """Side of the smallest anchor, in strides."""
    aspects: tuple[tuple[float, float], ...] = PAPER_ASPECTS
    """Anchor width and height factors."""

    def __post_init__(self) -> None:
        check_fields(self, "head.")
        if not self.aspects:
            raise UserError("head.aspects is empty; it must hold a shape")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        plain = dict(values)
        if "aspects" in plain:
            plain["aspects"] = tuple((float(width), float(height)) for width, height in plain["aspects"])
        return build(cls, plain, what="head", error=UserError)


@dataclass(frozen=True)
class Architecture:
    """What a model file holds. Any task can be built from it: a task only adds its heads."""

    name: str
    backbone: BackboneSpec
    image_size: tuple[int, int]
    """(height, width) of the input, pixels."""
    neck: NeckSpec | None = None
    """Of a detector; the neck of segmentation is derived from it, as from a published row. None: that of phi = 0."""
    head: HeadScaling | None = None
    """None: that of phi = 0."""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    """How it was found and what was measured of it; JSON values of any kind, which nothing reads back."""

    def __post_init__(self) -> None:
        if min(self.image_size) < 1:
            raise UserError(f"architecture {self.name!r}: image_size={list(self.image_size)} must be positive")

    @classmethod
    def of_row(cls, row: DetectorRow, backbone: BackboneSpec, **changes: Any) -> Self:
        """The architecture of a detector's scaling row around `backbone`."""
        neck = neck_of_row(row, backbone)
        head = HeadScaling(row.repeats, row.anchor_scale, row.aspects)
        values = {"name": row.name, "image_size": (row.size, row.size), "neck": neck, "head": head, **changes}
        return cls(backbone=backbone, **values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; :meth:`from_dict` gives the equal architecture."""
        return {
            "format": FORMAT,
            "name": self.name,
            "image_size": list(self.image_size),
            "backbone": self.backbone.to_dict(),
            "neck": None if self.neck is None else self.neck.to_dict(),
            "head": None if self.head is None else as_lists(asdict(self.head)),
            "made_by": dict(self.made_by),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The architecture of a model file's values.

        Raises:
            UserError: written by a newer version, a part is missing or unknown, or has values that make no network.
        """
        version = values.get("format")
        if version != FORMAT:
            fix = "update effdet" if isinstance(version, int) and version > FORMAT else "it is not a model file"
            raise UserError(f"has format {version!r}, this version reads {FORMAT}; {fix}")
        if missing := [key for key in _REQUIRED if key not in values]:
            raise UserError(f"lacks {', '.join(missing)}; a model file has {', '.join(_KEYS)}")
        check_keys(values, _KEYS, what="model", error=UserError)
        neck, head = values.get("neck"), values.get("head")
        try:
            return cls(
                name=str(values["name"]),
                backbone=BackboneSpec.from_dict(values["backbone"]),
                image_size=_size(values["image_size"]),
                neck=None if neck is None else NeckSpec.from_dict(neck),
                head=None if head is None else HeadScaling.from_dict(head),
                made_by=values.get("made_by") or {},
            )
        except (ValueError, TypeError, AttributeError) as error:  # a table with the wrong fields, or of the wrong types
            raise UserError(" ".join(str(error).split())) from error

    def row(self) -> DetectorRow:
        """The scaling row of the same numbers."""
        base = detector_phi(0)
        neck = self.neck or NeckSpec(channels=base.channels, repeats=base.cells)
        head = self.head or HeadScaling(base.repeats)
        half = "lite" in self.backbone.name  # these were published with pixels in [-1, 1]
        return DetectorRow(
            name=self.name,
            backbone=self.backbone.name,
            size=max(self.image_size),
            channels=neck.channels,
            cells=neck.repeats,
            repeats=head.repeats,
            anchor_scale=head.anchor_scale,
            fusion=neck.fusion,
            levels=neck.levels,
            kind=neck.kind,
            aspects=head.aspects,
            padding=neck.padding,
            redundant_bias=neck.redundant_bias,
            resample=(neck.downsample, neck.upsample),
            activation=self.backbone.activation,
            pixels="half" if half else "imagenet",
            fill=(128, 128, 128) if half else (124, 116, 104),
        )

    def neck_options(self) -> dict[str, Any]:
        """Settings of the neck that no scaling row has."""
        if self.neck is None:
            return {}
        names = ("activation", "norm_eps", "norm_momentum", "separable")
        return {name: getattr(self.neck, name) for name in names}


def neck_of_row(row: DetectorRow, backbone: AnyBackboneSpec) -> NeckSpec:
    """The neck of a detector's scaling row around `backbone`."""
    down, up = row.resample
    return NeckSpec(
        levels=row.levels,
        channels=row.channels,
        repeats=row.cells,
        kind=row.kind,
        fusion=row.fusion,
        activation=backbone.conventions.activation,
        padding=row.padding,
        redundant_bias=row.redundant_bias,
        downsample=down,
        upsample=up,
    )


def read_model_file(path: str | os.PathLike[str]) -> Architecture:
    """The architecture in the JSON file at `path`.

    Raises:
        UserError: there is no such file, it is not JSON, or see :meth:`Architecture.from_dict`; one line that names the file.
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
        return Architecture.from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def write_model_file(path: str | os.PathLike[str], architecture: Architecture) -> Path:
    """Write `architecture` to `path`, whole or not at all; returns the path."""
    return write_text(path, json.dumps(architecture.to_dict(), indent=1, ensure_ascii=False) + "\n")


def _size(value: Any) -> tuple[int, int]:
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise UserError(f"image_size={value!r} must be a side or [height, width] in pixels")
    return sides[0], sides[1]
