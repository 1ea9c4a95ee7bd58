"""From a name, or a task and a backbone, to a full model description: compound scaling fills what is not given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from backbones.fields import as_tuples, check_keys
from backbones.scaling import BackboneSpec, backbone_spec, phi_spec
from backbones.spec import AnyBackboneSpec, ExternalSpec
from effdet.model.architecture import Architecture, neck_of_row
from effdet.model.balance import BalanceSpec
from effdet.model.external import survey
from effdet.model.heads import KINDS, TASK_HEADS, HeadConfig, Scaled, passed, plan_external
from effdet.model.spec import HeadSpec, ModelSpec
from effdet.necks import NeckSpec
from effdet.necks.topology import level_number
from effdet.plugins import is_target
from effdet.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD, Preprocess
from effdet.scaling import (
    DETECTORS,
    DetectorRow,
    detector_phi,
    detector_row,
    row_for_backbone,
    semantic_cells,
    semantic_channels,
)
from heads.structures import ClassTable, UserError


def spec_for(
    name: str | None = None,
    *,
    task: str | None = None,
    backbone: str | AnyBackboneSpec | None = None,
    phi: float | None = None,
    architecture: Architecture | None = None,
    num_classes: int | Mapping[str, int] | None = None,
    classes: ClassTable | Mapping[str, ClassTable] | None = None,
    image_size: int | tuple[int, int] | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    neck: Mapping[str, Any] | None = None,
    heads: Mapping[str, Mapping[str, Any]] | None = None,
    balance: BalanceSpec | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Describe a model.

    Args:
        name: a published model (``tf_efficientdet_d0``, ``tf_efficientnet_b0``, …); then `task` and `backbone` stay unset.
        task: a key of ``TASK_HEADS``, with `backbone` (a name or a spec), `phi` or `architecture`. None where `heads` names
            them all.
        phi: continuous compound scaling of backbone, neck, heads and size together, in [-4, 6].
        architecture: backbone, neck, head scaling and size together, of a model file.
        num_classes: for every head, or by head name. Classes without a table are called ``class_0`` and so on.
        classes: class tables, for every head or by head name; they win over `num_classes`.
        image_size: side or (height, width) of the input; None takes the architecture's, or the scaling's own.
        backbone_options: fields of BackboneSpec to change; None keeps the default. An external backbone has its own.
        neck: fields of NeckSpec to change; None keeps the default.
        heads: by head name, arguments of the head to change; None keeps the default. A user-defined head has its class in
            ``_target_``; the model then has the heads of this mapping and no others.
        balance: how the losses of several heads are weighed; None adds them up.
        preprocess: fields of Preprocess to change; None keeps the default.

    Raises:
        UserError: an unknown name, a contradiction, an option that does not exist.
    """
    options = {head: passed(changes) for head, changes in (heads or {}).items()}
    own = {head: plan_external(head, changes) for head, changes in options.items() if is_target(changes)}
    task, row, own_backbone = _resolve(name, task, backbone, phi, architecture, passed(backbone_options), options, own)
    if architecture is not None:
        neck = architecture.neck_options() | passed(neck)
        image_size = architecture.image_size if image_size is None else image_size
    requested = heads_of(task, options)
    tables = {head: _class_table(head, num_classes, classes) for head in requested}
    base = (
        None
        if row is None
        else _neck(row, own_backbone, only_semantic=requested == ("semantic",), changes=passed(neck))
    )
    scaled, plans = Scaled(own_backbone, requested, row, base), dict[str, HeadConfig]()
    for head in requested:
        plans[head] = own[head] if head in own else KINDS[head].plan(scaled, options.get(head, {}))
    if row is None or base is None:
        neck_spec, rule = None, _classifier_preprocess(own_backbone)
    else:
        asked = [*passed(neck).get("levels", ()), *(row.levels if any(plan.levels for plan in own.values()) else ())]
        neck_spec, rule = _spanning(base, plans.values(), asked=tuple(asked)), _detection_preprocess(row)
        if isinstance(own_backbone, ExternalSpec):
            rule = replace(rule, **{key: getattr(survey(own_backbone).pixels, key) for key in ("mean", "std", "fill")})
            _check_levels(own_backbone, neck_spec, [plan.spec for plan in plans.values()])
    rule = _changed(rule, passed(preprocess), "preprocess")
    if image_size is not None:
        rule = rule.fitted(image_size)
    return ModelSpec(
        name=name
        or (_label(row, own_backbone, set(requested) - set(own)) if architecture is None else architecture.name),
        backbone=own_backbone,
        heads={head: plan.spec for head, plan in plans.items()},
        classes=tables,
        preprocess=rule,
        neck=neck_spec,
        balance=balance or BalanceSpec(),
    )


def heads_of(task: str | None, heads: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[str, ...]:
    """Names of the heads of `task`; those of `heads`, if one of them is the user's own, with a ``_target_``.

    Raises:
        UserError: an unknown task, or heads that it has not.
    """
    changes = heads or {}
    own = [head for head, options in changes.items() if is_target(options)]
    if not own and task not in TASK_HEADS:
        raise UserError(f"task={task!r} is unknown; use one of {', '.join(TASK_HEADS)}, or a model's name")
    requested = tuple(changes) if own else TASK_HEADS[str(task)]
    known = {*KINDS, *own} if own else requested
    if stray := [head for head in changes if head not in known]:
        has = f"a head without _target_ is one of {', '.join(KINDS)}" if own else f"it has {', '.join(requested)}"
        raise UserError(f"task {task!r} has no head {stray[0]!r}; {has}")
    return requested


def names() -> tuple[str, ...]:
    """Every detector and classifier that :func:`spec_for` knows by name."""
    from backbones import list_names

    return (*DETECTORS, *list_names())


def _resolve(
    name: str | None,
    task: str | None,
    backbone: str | AnyBackboneSpec | None,
    phi: float | None,
    architecture: Architecture | None,
    options: dict[str, Any],
    heads: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, HeadConfig],
) -> tuple[str | None, DetectorRow | None, AnyBackboneSpec]:
    """The task, the detector's row (None where no head reads a neck) and the backbone."""
    if name is not None:
        if own:
            raise UserError(
                f"model name {name!r} fixes the heads; give backbone= with a user-defined head ({', '.join(own)})"
            )
        if backbone is not None or phi is not None or architecture is not None:
            raise UserError(f"model name {name!r} fixes the backbone; leave out backbone=, phi= and architecture.path=")
        if row := detector_row(name):
            if task not in (None, "detection"):
                raise UserError(f"model {name!r} is a detector, task is {task!r}; give backbone= and task= instead")
            return "detection", row, backbone_spec(row.backbone, **options)
        if task not in (None, "classification"):
            raise UserError(f"model {name!r} is a classifier, task is {task!r}; give backbone= and task= instead")
        return "classification", None, backbone_spec(name, **options)
    requested = heads_of(task, heads)
    no_neck = not any(own[head].levels if head in own else KINDS[head].on_pyramid for head in requested)
    if sum(choice is not None for choice in (backbone, phi, architecture)) != 1:
        raise UserError("give one of backbone=, phi= and architecture.path= with a task")
    if architecture is not None:
        row, own_backbone = architecture.row(), architecture.backbone
    elif phi is not None:
        row, own_backbone = detector_phi(phi), phi_spec(phi)
    elif isinstance(backbone, str):
        own_backbone = backbone_spec(backbone)
        row = row_for_backbone(own_backbone.name)
    else:
        assert backbone is not None
        own_backbone, row = backbone, detector_phi(0) if isinstance(backbone, BackboneSpec) else survey(backbone).row
    if no_neck:
        row = None
    if isinstance(own_backbone, ExternalSpec):
        if options:
            raise UserError(
                f"backbone.{min(options)}: backbone {own_backbone.name} is not ours; give it with its own options"
            )
        return task, row, own_backbone
    return task, row, _changed(own_backbone, options, "backbone")


def _label(row: DetectorRow | None, own_backbone: AnyBackboneSpec, built_in: set[str]) -> str:
    """A detector's name where there is its head and its neck, else the backbone's: published weights go by it.

    Args:
        built_in: names of the heads without the user-defined ones.
    """
    if row is not None and "detection" in built_in:
        return row.name
    return f"external_{own_backbone.name}" if isinstance(own_backbone, ExternalSpec) else own_backbone.name


def _neck(row: DetectorRow, own_backbone: AnyBackboneSpec, *, only_semantic: bool, changes: dict[str, Any]) -> NeckSpec:
    """The detector's neck, or the slimmer one of a model that only segments."""
    spec = neck_of_row(row, own_backbone)
    if only_semantic:
        spec = spec.replace(channels=semantic_channels(row), repeats=semantic_cells(row))
    return _changed(spec, changes, "neck")


def _spanning(base: NeckSpec, plans: Iterable[HeadConfig], *, asked: tuple[str, ...]) -> NeckSpec:
    """`base` over the union of the levels `asked` for and those of all heads, without what no head reads."""
    plans = tuple(plans)
    numbers = [level_number(level) for level in (*asked, *(level for plan in plans for level in plan.levels))]
    levels = tuple(f"P{number}" for number in range(min(numbers), max(numbers) + 1))
    read = {level for plan in plans for level in plan.reads}
    outputs = tuple(level for level in levels if level in read)
    return base.replace(levels=levels, outputs=None if outputs == levels else outputs)


def _detection_preprocess(row: DetectorRow) -> Preprocess:
    half = row.pixels == "half"
    mean, std = (HALF, HALF) if half else (IMAGENET_MEAN, IMAGENET_STD)
    return Preprocess(size=(row.size, row.size), mean=mean, std=std, fill=row.fill)


def _check_levels(own_backbone: ExternalSpec, neck: NeckSpec, heads: Iterable[HeadSpec]) -> None:
    """Refuse a neck or an auxiliary loss that wants a level which the backbone lacks; all have C3 to C5."""
    known = survey(own_backbone).channels
    requested = [f"C{level_number(level)}" for level in neck.levels if level_number(level) <= 5]
    requested += [str(head.options["auxiliary"].get("level")) for head in heads if head.options.get("auxiliary")]
    if missing := [level for level in requested if level in ("C1", "C2") and level not in known]:
        raise UserError(
            f"backbone {own_backbone.name} has maps for {', '.join(known)} and none for {missing[0]} (stride "
            f"{2 ** level_number(missing[0])}), which the heads read; take another backbone, or levels from P3 on"
        )


def _classifier_preprocess(own_backbone: AnyBackboneSpec) -> Preprocess:
    """The published classifiers' rule; EfficientNetV2 S to XL and Lite were trained on pixels in [-1, 1]."""
    if isinstance(own_backbone, ExternalSpec):
        return survey(own_backbone).pixels
    half = (
        "lite" in own_backbone.name
        or own_backbone.name.startswith("tf_efficientnetv2_")
        and own_backbone.name[18] in "smlx"
    )
    mean, std = (HALF, HALF) if half else (IMAGENET_MEAN, IMAGENET_STD)
    size = (own_backbone.image_size, own_backbone.image_size)
    return Preprocess(size=size, resize="center_crop", interpolation="bicubic", mean=mean, std=std, crop=0.875)


def _class_table(
    head: str, num_classes: int | Mapping[str, int] | None, classes: ClassTable | Mapping[str, ClassTable] | None
) -> ClassTable:
    table = classes.get(head) if isinstance(classes, Mapping) else classes
    count = num_classes.get(head) if isinstance(num_classes, Mapping) else num_classes
    if table is not None:
        if count is not None and count != len(table):
            raise UserError(
                f"num_classes={count} for {head}, but its class table has {len(table)} rows; give one of them"
            )
        return table
    if count is None and head not in KINDS:
        raise UserError(
            f"num_classes of head {head!r} is not known; give num_classes={{{head!r}: 3}}, say, or classes="
        )
    count = KINDS[head].default_classes if count is None else count
    if count < 1:
        raise UserError(f"num_classes={count} for {head} must be at least 1")
    return ClassTable.unnamed(count)


def _changed(spec: Any, changes: dict[str, Any], part: str) -> Any:
    check_keys(changes, [field.name for field in fields(spec)], what=part, error=UserError)
    return replace(spec, **as_tuples(changes))
