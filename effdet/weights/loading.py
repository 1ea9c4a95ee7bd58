"""``load_weights``: read, tell the layout, resolve the conventions, evaluate by scope, and only then touch the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from backbones.efficientnet import EfficientNet
from effdet.model import VisionModel
from effdet.necks.pyramid import Fusion
from effdet.preprocess import Preprocess
from effdet.weights.anchor_rows import AnchorRows, fit_anchors, resulting_anchors
from effdet.weights.class_layers import ClassRows, fit_class_layers
from effdet.weights.conventions import Conventions, apply_conventions
from effdet.weights.decide import Stated, decide
from effdet.weights.folded import unfold, without_statistics
from effdet.weights.layouts import BACKBONE, OURS, detect_layout, external_state, fit_biases, to_ours
from effdet.weights.names import locate
from effdet.weights.read import WeightFile, WeightsError, read_weights
from effdet.weights.report import LoadReport
from effdet.weights.rows import NamedWeights
from effdet.weights.statistics import Images, calibration_batches, restore_statistics
from effdet.weights.tflite import LiteFacts
from heads.detection import DetectionHead, anchors

WeightSource = str | Path | Mapping[str, Any]
_COUNTER = "num_batches_tracked"


class MisfitError(WeightsError):
    """A file that does not fill what it has to fill. ``report`` lists every tensor."""

    def __init__(self, text: str, report: LoadReport) -> None:
        super().__init__(text)
        self.report = report


def load_weights(
    model: nn.Module,
    source: WeightSource,
    *,
    strict: bool = True,
    trust: bool = False,
    conventions: Stated = None,
    raw: bool = False,
    images: Images | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> LoadReport:
    """Load a file's weights and bring the model to the file's conventions.

    A backbone or classifier file must fill the model's backbone. A model file must fill everything but the last, class-
    dependent layers, whose rows are taken over by class name. Nothing is changed in the model before all this is certain.

    Args:
        model: A VisionModel, or a bare backbone.
        source: A path, the name of published weights (fetched if need be), or a state dict.
        strict: Refuse a file that leaves something unfilled or has something to spare.
        trust: Read a pickle that runs code.
        conventions: Needed where file and name leave them open: the name of weights that the file is like, a family
            (``tf``, ``timm``, …), ``model`` for the model's own, or a mapping such as ``{"padding": "same", "mean": […]}``.
        raw: Of our own checkpoints, the raw weights and not their average.
        images: What the model will be trained on, for a file whose BatchNorms are folded away: their statistics are measured
            on it. Paths, PIL images or (h, w, 3) uint8 RGB arrays, some 64 to 200, or a function that gives them, which is
            called only if they are needed. None takes generated images, which give training a rougher start.
        preprocess: Fields of :class:`effdet.preprocess.Preprocess` that the model shall have whatever the file's conventions.

    Raises:
        UserError: the file can't be read, its conventions are open, or it does not fit.
    """
    path, row = locate(source) if isinstance(source, (str, Path)) else (source, None)
    file = read_weights(path, trust=trust, raw=raw)
    return load_file(model, file, row=row, strict=strict, conventions=conventions, images=images, preprocess=preprocess)


def load_file(
    model: nn.Module,
    file: WeightFile,
    *,
    row: NamedWeights | None = None,
    strict: bool = True,
    conventions: Stated = None,
    images: Images | None = None,
    preprocess: Mapping[str, Any] | None = None,
    statistics: bool = True,
) -> LoadReport:
    """:func:`load_weights` for a file that has been read already; without `statistics`, bit by bit as it is."""
    whole = model if isinstance(model, VisionModel) else None
    backbone = cast(nn.Module, model.backbone) if isinstance(model, VisionModel) else model
    own = dict(model.state_dict()) if whole else {BACKBONE + key: value for key, value in model.state_dict().items()}
    unused: tuple[str, ...] = ()
    ours = backbone.spec if isinstance(backbone, EfficientNet) else None
    if ours is not None:
        layout = detect_layout(file.tensors)
        state = to_ours(file.tensors, layout, ours)
        scope, label = _scope(state, whole), "tflite" if file.kind == "tflite" else layout
    else:
        label, state, unused = external_state(file.tensors, backbone)
        layout, scope = label, _scope(state, whole) if label == OURS else "backbone"
    spec = whole.spec if whole else None
    decided = decide(file, label, scope=scope, backbone=ours, model=spec, stated=conventions, row=row)
    fusions = {name: layer for name, layer in model.named_modules() if isinstance(layer, Fusion)}
    unfolded = unfold(state, own, {name: layer for name, layer in fusions.items() if layer.weights is not None})
    state = dict(unfolded.tensors)
    notes = [*file.notes, *unfolded.notes]
    if layout == "effdet" and scope == "model":
        state, more = fit_biases(state, own)
        notes += more
    rows = AnchorRows()
    if whole and scope == "model":
        rows = fit_anchors(whole, state, decided.anchors, aspects=decided.aspects, bins=decided.bins)
        state = {key: value for key, value in {**state, **rows.tensors}.items() if key not in rows.initial}
        notes += rows.notes
    classes = fit_class_layers(whole, state, own, decided.classes) if whole and scope == "model" else ClassRows()
    report = _compared(file, label, scope, decided, state, own, classes, notes, frozenset(rows.initial))
    report = replace(report, anchors=tuple(rows.taken), expected_left_over=(*report.expected_left_over, *unused))
    if strict and not report.complete:
        raise MisfitError(_misfit(report, whole.spec.name if whole else type(backbone).__name__), report)
    if whole and scope == "model":
        _check_anchors(file, whole, decided)
    usable = {key: state[key] for key in report.matched} | classes.tensors | rows.initial
    with torch.no_grad():
        for key, value in usable.items():
            own[key].copy_(value)
    changes = apply_conventions(model, decided, scope=scope)
    if preprocess and isinstance(model, VisionModel):
        model.spec = model.spec.replace(preprocess=replace(model.preprocess, **preprocess))
    norms = _norms(model)
    for name in unfolded.norms:
        cast(Tensor, norms[name].running_var).fill_(1 - norms[name].eps)  # an identity under the model's epsilon
    loaded = {name: norms[name] for name in norms if f"{name}.weight" in usable}
    bare = without_statistics(state, loaded) if statistics else ()
    if bare:
        pixels = model.preprocess if isinstance(model, VisionModel) else _bare_preprocess(decided)
        count = restore_statistics(model, {name: norms[name] for name in bare}, calibration_batches(images, pixels))
        report = replace(report, measured=_measured(len(bare), count, images), without_statistics=bare)
    return replace(report, changes=changes)


def _norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Every BatchNorm under the names of a model's state; a bare backbone's begin with ``backbone.``."""
    prefix = "" if isinstance(model, VisionModel) else BACKBONE
    return {prefix + name: layer for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def _bare_preprocess(conventions: Conventions) -> Preprocess:
    """Pixels for a bare backbone, which carries none."""
    known = {name: value for name in ("mean", "std") if (value := getattr(conventions, name)) is not None}
    return Preprocess(size=conventions.size or (224, 224), resize="stretch", **known)


def _measured(norms: int, count: int, images: Images | None) -> str:
    where = f"{count} generated images" if images is None else f"{count} images of yours"
    return f"{norms} BatchNorms were folded away; their statistics were measured on {where}"


def _scope(state: Mapping[str, Tensor], model: VisionModel | None) -> str:
    """What the file has to fill: a bare backbone and a classifier in a detector fill the backbone."""
    if model is None:
        return "backbone"
    heads = {key.split(".")[1] for key in state if key.startswith("heads.")}
    neck = any(key.startswith("neck.") for key in state)
    if not neck and heads <= {"classification"} and not heads & set(model.heads):
        return "backbone"
    return "model"


def _compared(
    file: WeightFile,
    layout: str,
    scope: str,
    conventions: Conventions,
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    classes: ClassRows,
    notes: list[str],
    initial: frozenset[str],
) -> LoadReport:
    requested = {key for key in own if scope == "model" or key.startswith(BACKBONE)}
    other = {key for key in state if key not in own and not key.endswith(_COUNTER)}
    elsewhere = {key for key in state if key in own and key not in requested}
    beside = {key for key in other if scope == "backbone" and key.startswith(("neck.", "heads."))}
    fresh = initial | fresh_parts(state, own) if scope == "model" else initial
    matched, changed = [], []
    for key in sorted(requested & set(state)):
        if key in classes.tensors or key in fresh:
            continue
        if state[key].shape == own[key].shape:
            matched.append(key)
        else:
            changed.append((key, tuple(state[key].shape), tuple(own[key].shape)))
    return LoadReport(
        source=file.source,
        layout=layout,
        scope=scope,
        conventions=conventions.origin,
        matched=tuple(matched),
        carried_over=tuple(classes.carried),
        missing=tuple(sorted(key for key in requested - set(state) - fresh if not key.endswith(_COUNTER))),
        left_over=tuple(sorted(other - beside)),
        fresh=tuple(sorted(key for key in fresh if not key.endswith(_COUNTER))),
        expected_left_over=tuple(sorted(beside | elsewhere)),
        changed_shape=tuple(changed),
        notes=tuple(notes + classes.notes),
        sha256=file.sha256,
    )


def fresh_parts(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> frozenset[str]:
    """Keys of `own` that a file of `state` need not fill: a detector's weights fill the driving model that grew out of it.

    These are heads of which the file has nothing, as long as it has another of the model's heads; where the model's neck
    spans the file's levels and more, nodes that the file has not, and shares of nodes with more inputs (nodes are named by
    level and direction, so whatever fuses the same inputs fits); and learned weights between several heads.
    """
    theirs, ours = _heads(state), _heads(own)
    if not theirs & ours:
        return frozenset()
    fresh = {key for key in own if key.startswith("heads.") and key.split(".")[1] not in theirs}
    fresh |= {key for key in own if key.startswith("balance.") and key not in state}
    if _levels(own) > _levels(state) > set():
        nodes = {_node(key) for key in state}
        for key in own:
            new_node = key.startswith("neck.cells.") and _node(key) not in nodes
            more_inputs = key.endswith(".fuse.weights") and key in state and state[key].shape != own[key].shape
            if new_node or more_inputs:
                fresh.add(key)
    return frozenset(fresh)


def _heads(keys: Iterable[str]) -> set[str]:
    return {key.split(".")[1] for key in keys if key.startswith("heads.")}


def _levels(keys: Iterable[str]) -> set[str]:
    """Levels of the first cell, which has all nodes: ``neck.cells.0.td.P3.…``."""
    return {key.split(".")[4] for key in keys if key.startswith("neck.cells.0.")}


def _node(key: str) -> str:
    """``neck.cells.0.td.P3`` of any of its tensors."""
    return ".".join(key.split(".")[:5])


def _misfit(report: LoadReport, model: str) -> str:
    parts = []
    if report.changed_shape:
        key, theirs, ours = report.changed_shape[0]
        more = f" (and {len(report.changed_shape) - 1} more)" if len(report.changed_shape) > 1 else ""
        parts.append(f"{key} has shape {list(theirs)} in the file and {list(ours)} in the model{more}")
    for what, keys in (("missing in the file", report.missing), ("left over", report.left_over)):
        if keys:
            parts.append(f"{len(keys)} tensors are {what} ({keys[0]}{', …' if len(keys) > 1 else ''})")
    share = len(report.matched) / max(1, len(report.matched) + len(report.missing) + len(report.changed_shape))
    hint = "it is for another model" if share < 0.9 else "it was damaged or made for a variant of this model"
    return (
        f"{report.source} does not fit {model}: {'; '.join(parts)}. {len(report.matched)} tensors match, so {hint}; "
        "strict=false loads what matches"
    )


def _check_anchors(file: WeightFile, model: VisionModel, conventions: Conventions) -> None:
    """Google's files hold their anchors: they must be those that their rows are taken for."""
    facts: LiteFacts | None = file.metadata.get("lite")
    if facts is None or facts.anchors is None or "detection" not in model.heads or conventions.size is None:
        return
    head, (height, width) = cast(DetectionHead, model.heads["detection"]), conventions.size
    sizes, size = [], (height, width)
    for number in range(1, int(head.in_levels[-1][1:]) + 1):
        size = (-(-size[0] // 2), -(-size[1] // 2))
        if number >= int(head.in_levels[0][1:]):
            sizes.append(size)
    spec = conventions.anchors.get("detection", resulting_anchors(head.anchor_spec, conventions.aspects))
    boxes = anchors(sizes, conventions.size, spec) / torch.tensor([width, height, width, height])
    theirs = torch.from_numpy(facts.anchors.copy())
    centre, half = theirs[:, [1, 0]], theirs[:, [3, 2]] / 2
    if boxes.shape != theirs.shape or not torch.allclose(
        boxes, torch.cat([centre - half, centre + half], 1), atol=1e-4
    ):
        raise WeightsError(
            f"{file.source} holds {len(theirs)} anchors that are not those of its conventions ({conventions.origin}); "
            "say conventions= with the right size and aspects"
        )
