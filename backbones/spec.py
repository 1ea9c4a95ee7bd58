"""What defines a backbone: frozen, comparable, and plain enough to be written into a checkpoint as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from backbones.attention import KINDS
from backbones.fields import build
from backbones.layers import ACTIVATIONS, PADDING_RULES, LayerConventions

OPERATIONS = ("mbconv", "separable", "fused", "conv")


def _problems(spec: Any, allowed: Mapping[str, Sequence[str]], positive: Sequence[str]) -> list[str]:
    """Of the fields of `spec` that must be one of given names, and of those that must be above 0."""
    found = [
        f"{name} must be one of {', '.join(names)}, got {getattr(spec, name)!r}"
        for name, names in allowed.items()
        if getattr(spec, name) not in names
    ]
    return found + [
        f"{name} must be positive, got {getattr(spec, name)}" for name in positive if getattr(spec, name) <= 0
    ]


@dataclass(frozen=True)
class StageSpec:
    """A run of equal blocks. Only the first changes width and stride."""

    op: str
    """``mbconv``, ``separable`` (MBConv1), ``fused`` (Fused-MBConv) or ``conv``."""
    kernel: int
    stride: int
    expansion: float
    channels: int
    """Width of the stage's output."""
    repeats: int
    se_ratio: float = 0.0
    """Squeeze width as a share of a block's input channels; 0: no attention in this stage."""
    skip: bool = True
    """Residual connections around blocks that keep size and width."""
    attention: str | None = None
    """``se``, ``eca`` or ``none`` in this stage; None: what the backbone has. ``se`` and ``eca`` need an se_ratio above 0."""

    def __post_init__(self) -> None:
        problems = _problems(self, {"op": OPERATIONS}, ("kernel", "channels", "repeats", "expansion"))
        if self.stride not in (1, 2):
            problems.append(f"stride must be 1 or 2, got {self.stride}")
        if not 0 <= self.se_ratio <= 1:
            problems.append(f"se_ratio must lie in [0, 1], got {self.se_ratio}")
        if self.attention not in (None, *KINDS):
            problems.append(f"attention must be one of {', '.join(KINDS)} or None, got {self.attention!r}")
        if self.attention in ("se", "eca") and self.se_ratio == 0:
            problems.append(f"attention={self.attention!r} with se_ratio=0, which means none; give an se_ratio above 0")
        if problems:
            raise ValueError("a backbone's stage: " + "; ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        if self.attention is None:
            del values["attention"]  # descriptions from before stages had one stay what they were
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return build(cls, values, what="backbone.stages")


@dataclass(frozen=True)
class BackboneSpec(LayerConventions):
    """Everything :class:`backbones.efficientnet.EfficientNet` is built from, and the numbers that belong to it."""

    name: str
    """Of the table that it comes from."""
    stages: tuple[StageSpec, ...]
    stem_channels: int
    head_channels: int
    """Width of the 1x1 convolution before a classifier. The backbone itself doesn't hold it."""
    attention: Literal["se", "eca", "none"] = "se"
    """``se``, ``eca`` or ``none``, in the stages whose se_ratio is above 0 and that name none."""
    drop_path: Annotated[float, "0..0.9"] = 0.2
    """Stochastic depth: block i of N is skipped with probability ``drop_path * i / N``."""
    dropout: float = 0.2
    """Before a classifier's last layer."""
    image_size: int = 224
    """Pixels, of the square input that the network was designed for."""

    def __post_init__(self) -> None:
        allowed = {"attention": KINDS, "padding": PADDING_RULES, "activation": ACTIVATIONS}
        problems = _problems(self, allowed, ("stem_channels", "head_channels", "norm_eps", "image_size"))
        for name in ("drop_path", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if not 0 < self.norm_momentum <= 1:
            problems.append(f"norm_momentum must lie in (0, 1], got {self.norm_momentum}")
        halvings = sum(stage.stride == 2 for stage in self.stages)
        if halvings != 4:
            problems.append(f"four stages must have stride 2 (with the stem: strides 2 to 32), got {halvings}")
        if problems:
            raise ValueError(f"backbone {self.name!r}: " + "; ".join(problems))

    @property
    def channels(self) -> tuple[int, ...]:
        """Widths of C1...C5: of the last thing computed at each of the strides 2, 4, 8, 16, 32."""
        width, taps = self.stem_channels, []
        for stage in self.stages:
            if stage.stride == 2:
                taps.append(width)
            width = stage.channels
        return (*taps, width)

    def attention_of(self, stage: StageSpec) -> str:
        """The kind of channel attention in the blocks of `stage`: its own, else the backbone's."""
        return (stage.attention or self.attention) if stage.se_ratio else "none"

    @property
    def blocks(self) -> int:
        """Number of blocks in all stages."""
        return sum(stage.repeats for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values["stages"] = [stage.to_dict() for stage in self.stages]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        stages = tuple(StageSpec.from_dict(stage) for stage in values.get("stages", ()))
        return build(cls, {**values, "stages": stages}, what="backbone")


@dataclass(frozen=True)
class ExternalSpec:
    """A backbone that is not one of ours: a network of timm, or a class of the user's own."""

    kind: str
    """``timm`` or ``target``."""
    name: str
    """timm's name, or that of the class."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Plain values. For timm the arguments of :class:`backbones.timm.TimmBackbone` after the name, for a class of the user's
    own its ``_target_`` and arguments."""

    # What necks and heads around it are built with.
    conventions: ClassVar[LayerConventions] = LayerConventions(padding="symmetric")
    head_channels: ClassVar[int] = 1280
    dropout: ClassVar[float] = 0.2

    def __post_init__(self) -> None:
        if self.kind not in ("timm", "target"):
            raise ValueError(f"backbone {self.name!r}: kind must be timm or target, got {self.kind!r}")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return build(cls, values, what="backbone")


AnyBackboneSpec = BackboneSpec | ExternalSpec


def backbone_from_dict(values: dict[str, Any]) -> AnyBackboneSpec:
    """The spec that ``to_dict`` of either kind wrote; one without ``kind`` is an EfficientNet."""
    return ExternalSpec.from_dict(values) if "kind" in values else BackboneSpec.from_dict(values)
