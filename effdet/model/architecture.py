"""An architecture without a task: backbone, neck, head scaling and input size, as scaling and search find them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from backbones.fields import build
from backbones.spec import AnyBackboneSpec, BackboneSpec
from effdet.necks import NeckSpec
from effdet.scaling import DetectorRow, detector_phi
from effdet.scaling.tables import PAPER_ASPECTS
from heads.structures import UserError


@dataclass(frozen=True)
class HeadScaling:
    """What the scaling says about the class and box nets."""

    repeats: int = 3
    """D_box = D_class, convolutions before the last one."""
    anchor_scale: float = 4.0
    """Side of the smallest anchor, in strides."""
    aspects: tuple[tuple[float, float], ...] = PAPER_ASPECTS
    """Anchor width and height factors."""

    def __post_init__(self) -> None:
        if self.repeats < 0 or self.anchor_scale <= 0 or not self.aspects:
            raise UserError(
                f"head scaling: repeats={self.repeats} must be 0 or more, anchor_scale={self.anchor_scale:g} above 0, "
                f"and aspects={list(self.aspects)} hold a shape"
            )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "aspects": [list(aspect) for aspect in self.aspects]}

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
