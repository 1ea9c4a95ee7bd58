"""Conventions: what weights were made with and no key or shape shows. They travel with the weights.

``tf_`` and plain timm files have equal keys; run with the other's padding and epsilon they still answer, but badly. So every
load resolves the conventions of its file (:mod:`effdet.weights.decide`), and only :func:`apply_conventions` brings the
model to them and says what it changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self, cast

from torch import nn

from backbones.efficientnet import EfficientNet
from backbones.fields import as_tuples, build, check_keys
from backbones.layers import Activation, Conv2d, MaxPool2d
from backbones.scaling import backbone_spec
from effdet.model import ModelSpec, VisionModel
from effdet.model.spec import HeadSpec
from effdet.scaling import DetectorRow, detector_row
from effdet.weights.anchor_rows import resulting_anchors
from effdet.weights.class_tables import class_table, is_unnamed
from effdet.weights.rows import NamedWeights
from heads.detection import AnchorSpec, DetectionHead
from heads.pooled import PooledHead
from heads.structures import ClassTable, UserError

Triple = tuple[float, float, float]
_GEOMETRY = ("resize", "interpolation", "crop", "fill")
_LAYERS = ("padding", "activation", "norm_eps", "norm_momentum")
_Changes = tuple[dict[str, Any], list[str]]


@dataclass(frozen=True)
class Conventions:
    """Each field may be None: nothing is known about it, and the model keeps its own."""

    origin: str
    """Where they come from, for the report."""
    padding: str | None = None
    norm_eps: float | None = None
    """BatchNorm's, of the backbone; necks and heads have 1e-3 in every public file."""
    norm_momentum: float | None = None
    activation: str | None = None
    mean: Triple | None = None
    std: Triple | None = None
    resize: str | None = None
    interpolation: str | None = None
    crop: float | None = None
    fill: tuple[int, int, int] | None = None
    size: tuple[int, int] | None = None
    """(height, width) that the published result holds for; a model keeps its own."""
    classes: Mapping[str, ClassTable] = field(default_factory=dict)
    """By head name."""
    aspects: tuple[tuple[float, float], ...] | None = None
    """Anchor width and height factors, where the file has its own; a model with published ones takes them over."""
    anchors: Mapping[str, AnchorSpec] = field(default_factory=dict)
    """By name of a detection head: the anchors that the file's rows stand for, where they are known."""
    bins: Mapping[str, int] = field(default_factory=dict)
    """By name of a detection head: the bins of each box side, where the file has distributions instead of deltas."""

    @classmethod
    def of_weights(cls, row: NamedWeights, *, origin: str) -> Self:
        """Those of a published file."""
        detector = detector_row(row.model)
        backbone = backbone_spec(detector.backbone if detector else row.model)
        layers = replace(backbone.conventions, padding=detector.padding) if detector else backbone.conventions
        head = "detection" if detector else "classification"
        return cls(
            origin=f"{row.name}, {origin}",
            **asdict(layers),
            mean=row.pixels[0],
            std=row.pixels[1],
            **{name: getattr(row, name) for name in (*_GEOMETRY, "aspects")},
            size=(row.size, row.size),
            classes={head: class_table(row.classes)} if row.classes else {},
            anchors={} if detector is None else {head: anchors_of_row(detector, row.aspects)},
        )

    @classmethod
    def of_spec(cls, spec: ModelSpec, *, origin: str) -> Self:
        """Those of a model file of ours, which describes itself."""
        pixels = spec.preprocess
        known = {name: getattr(pixels, name) for name in ("mean", "std", "size", *_GEOMETRY)}
        return cls(
            origin=origin,
            **asdict(spec.backbone.conventions),
            **known,
            classes=spec.classes,
            anchors={
                name: described_anchors(head, name) for name, head in spec.heads.items() if head.kind == "detection"
            },
            bins={
                name: bins
                for name, head in spec.heads.items()
                if head.kind == "detection" and (bins := head.options.get("bins")) is not None
            },
        )

    @classmethod
    def of_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Those that a user states: any of the fields.

        ``classes`` is a table's name or a list of names, ``anchors`` a mapping of :class:`heads.detection.AnchorSpec`'s fields,
        ``bins`` a number.
        """
        known = [item.name for item in fields(cls) if item.name not in ("origin", "size")]
        check_keys(values, known, what="conventions", error=UserError)
        passed = as_tuples(values)
        if (classes := passed.pop("classes", None)) is not None:
            table = class_table(classes) if isinstance(classes, str) else ClassTable.of([str(name) for name in classes])
            passed["classes"] = {"detection": table, "classification": table}
        if (anchors := passed.pop("anchors", None)) is not None:
            spec = build(AnchorSpec, as_tuples(anchors), what="conventions.anchors", error=UserError)
            passed["anchors"] = {"detection": spec}
        if (bins := passed.pop("bins", None)) is not None:
            passed["bins"] = {"detection": int(bins)}
        return cls(origin="stated by hand", **passed)

    def relevant(self, scope: str) -> tuple[Any, ...]:
        """The part that matters to a load of `scope`; two candidates that agree here need no decision."""
        backbone = (self.padding, self.norm_eps, self.activation, self.mean, self.std)
        if scope == "backbone":
            return backbone
        tables = tuple(sorted((name, table.names) for name, table in self.classes.items()))
        return (*backbone, self.resize, self.fill, tables, self.aspects, tuple(sorted(self.anchors.items())))

    def __str__(self) -> str:
        parts = [f"{self.padding} padding" if self.padding else "", f"eps {self.norm_eps:g}" if self.norm_eps else ""]
        if self.mean:
            parts.append(f"mean {self.mean[0]:.3g}")
        return f"{self.origin.split(',')[0]} ({', '.join(part for part in parts if part)})"


def described_anchors(head: HeadSpec, name: str = "detection") -> AnchorSpec:
    """The anchors of a detection head that is described by plain values."""
    options = {key: value for key, value in (head.options.get("anchors") or {}).items() if value is not None}
    return build(AnchorSpec, as_tuples(options), what=f"head.{name}.anchors", error=UserError)


def anchors_of_row(row: DetectorRow, aspects: tuple[tuple[float, float], ...] | None = None) -> AnchorSpec:
    """The anchors of a published detector: three sizes an octave; `aspects` where its file has its own."""
    return AnchorSpec(row.anchor_scale, 3, row.aspects if aspects is None else aspects)


def apply_conventions(model: nn.Module, conventions: Conventions, *, scope: str) -> tuple[str, ...]:
    """Bring a model to the conventions of its weights, in place.

    Args:
        model: A VisionModel or a bare backbone. It and the spec that it carries are changed.
        scope: ``backbone`` changes the backbone and the pixel statistics; ``model`` also neck, heads, resize and classes.

    Returns:
        What changed, one line each; empty where everything agreed already.
    """
    backbone = model.backbone if isinstance(model, VisionModel) else model
    # A network of others' has one padding and one epsilon: its own
    changes = _backbone(backbone, conventions) if isinstance(backbone, EfficientNet) else []
    if isinstance(model, VisionModel):
        whole = scope == "model"
        if isinstance(backbone, EfficientNet):
            model.spec = model.spec.replace(backbone=backbone.spec)
        if whole:
            changes += _surroundings(model, conventions)
        changes += _pixels(model, conventions, whole=whole)
    return tuple(changes)


def _changed(own: Mapping[str, Any], conventions: Conventions, names: Iterable[str], what: str) -> _Changes:
    """What the conventions state otherwise than `own`, by name, and a line for each."""
    stated = {name: getattr(conventions, name) for name in names if own.get(name) is not None}
    changed = {name: value for name, value in stated.items() if value not in (None, own[name])}
    return changed, [f"{what} {name}: {_short(own[name])} -> {_short(value)}" for name, value in changed.items()]


def _backbone(net: EfficientNet, conventions: Conventions) -> list[str]:
    changed, lines = _changed(vars(net.spec), conventions, _LAYERS, "backbone")
    net.spec = replace(net.spec, **changed)
    _set_layers(net, changed)
    return lines


def _set_layers(module: nn.Module, values: Mapping[str, Any]) -> None:
    for layer in module.modules():
        if isinstance(layer, (Conv2d, MaxPool2d)) and "padding" in values:
            layer.padding_rule = values["padding"]
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eps = values.get("norm_eps", layer.eps)
            layer.momentum = values.get("norm_momentum", layer.momentum)
        elif isinstance(layer, Activation) and layer.name != "identity":
            layer.name = values.get("activation", layer.name)


def _surroundings(model: VisionModel, conventions: Conventions) -> list[str]:
    """Neck, heads and class tables."""
    changes: list[str] = []
    heads = dict(model.spec.heads)
    for name, head in heads.items():
        # A head for whole images goes on in the backbone's conventions; the others have a BatchNorm of another kind.
        own = _LAYERS if isinstance(model.heads[name], PooledHead) else _LAYERS[:2]
        changed, lines = _changed(head.options, conventions, own, f"{name} head")
        _set_layers(model.heads[name], changed)
        changes += lines
        heads[name] = replace(head, options={**head.options, **changed})
    neck = model.spec.neck
    if neck is not None and model.neck is not None:
        changed, lines = _changed(vars(neck), conventions, _LAYERS[:2], "neck")
        _set_layers(model.neck, changed)
        changes += lines
        model.neck.spec = neck = neck.replace(**changed)
    model.spec = model.spec.replace(heads=heads, neck=neck)
    return changes + _anchors(model, conventions) + _classes(model, conventions)


def _anchors(model: VisionModel, conventions: Conventions) -> list[str]:
    if conventions.aspects is None or "detection" not in model.heads:
        return []
    head, spec = cast(DetectionHead, model.heads["detection"]), model.spec.heads["detection"]
    aspects, anchors = conventions.aspects, resulting_anchors(head.anchor_spec, conventions.aspects)
    if anchors == head.anchor_spec:
        return []
    head.anchor_spec = anchors
    options = dict(spec.options)
    options["anchors"] = {**dict(options.get("anchors", {})), "aspects": [list(pair) for pair in aspects]}
    model.spec = model.spec.replace(heads={**model.spec.heads, "detection": replace(spec, options=options)})
    return ["anchor aspects: " + ", ".join(f"{x:.3f} x {y:.3f}" for x, y in aspects)]


def _classes(model: VisionModel, conventions: Conventions) -> list[str]:
    """Name the classes of a head that only counts them, where the file names as many."""
    changes, tables = [], dict(model.spec.classes)
    for name, table in conventions.classes.items():
        if (
            name not in tables
            or len(tables[name]) != len(table)
            or not is_unnamed(tables[name])
            or tables[name] == table
        ):
            continue
        tables[name] = table
        changes.append(f"{name} classes: {len(table)} rows, {sum(table.named)} of them named, as in the file")
        head = model.heads[name]
        if isinstance(head, DetectionHead):
            head.named_classes.copy_(head.named_classes.new_tensor(table.named))
    model.spec = model.spec.replace(classes=tables)
    return changes


def _pixels(model: VisionModel, conventions: Conventions, *, whole: bool) -> list[str]:
    own = model.spec.preprocess
    if not whole:
        mean = conventions.mean or own.mean
        fill = None if mean == own.mean else (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2]))
        conventions = replace(conventions, fill=fill)  # padding stays about zero
    names = ("mean", "std", *_GEOMETRY) if whole else ("mean", "std", "fill")
    changed, lines = _changed(vars(own), conventions, names, "preprocessing")
    model.spec = model.spec.replace(preprocess=replace(own, **changed))
    return lines


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "(" + ", ".join(_short(item) for item in value) + ")" if isinstance(value, tuple) else str(value)
