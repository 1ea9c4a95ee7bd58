"""Which conventions a file has: from its own description, its name, its checksum, or the user; never by guessing.

Where several published files of the same layout and network would fit and differ in what matters, loading is an error that
lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from backbones.scaling import architecture, backbone_spec, conventions_of
from backbones.spec import BackboneSpec
from effdet.model import ModelSpec
from effdet.scaling import DETECTORS, DetectorRow, detector_row
from effdet.weights import names
from effdet.weights.class_tables import class_table
from effdet.weights.conventions import Conventions, anchors_of_row, described_anchors
from effdet.weights.layouts import OURS
from effdet.weights.read import WeightFile, WeightsError
from effdet.weights.rows import BYTE_PIXELS, HALF_PIXELS, IMAGENET_PIXELS, NamedWeights
from effdet.weights.tflite import ANCHORS_PER_CELL, LiteFacts
from heads.detection import AnchorSpec
from heads.structures import ClassTable, UserError

FAMILIES = {
    "tf": ("same", 1e-3, IMAGENET_PIXELS),
    "tf_half": ("same", 1e-3, HALF_PIXELS),
    "timm": ("symmetric", 1e-5, IMAGENET_PIXELS),
    "timm_half": ("symmetric", 1e-5, HALF_PIXELS),
}
"""Short names for ``conventions=``: padding, BatchNorm epsilon and pixels of a whole family of files."""

Stated = str | Mapping[str, Any] | Conventions | None


def decide(
    file: WeightFile,
    layout: str,
    *,
    scope: str,
    backbone: BackboneSpec | None,
    model: ModelSpec | None = None,
    stated: Stated = None,
    row: NamedWeights | None = None,
) -> Conventions:
    """The conventions of a file.

    Args:
        layout: As :func:`effdet.weights.layouts.detect_layout` says, or ``tflite``.
        scope: ``model`` or ``backbone``: what has to agree between candidates.
        backbone: The target's; None for one that is not ours, where all but the pixels is in the network itself.
        model: The target's, None for a bare backbone.
        stated: What the user said: a name of weights, a family of ``FAMILIES``, ``model``, or single settings.
        row: The named weights that the user asked for, if it was by name.

    Raises:
        WeightsError: several candidates fit; the text lists them.
    """
    if stated is not None:
        return _with_anchors(_stated(stated), file, layout, model, own=stated == "model")
    if "spec" in file.metadata:
        return Conventions.of_spec(ModelSpec.from_dict(file.metadata["spec"]), origin="the file's own description")
    if backbone is None:
        config = file.metadata.get("pretrained_cfg") or {}
        if layout == OURS or not len(config.get("mean") or ()) == len(config.get("std") or ()) == 3:
            return Conventions("the network's own")
        return Conventions("its config.json", mean=tuple(config["mean"]), std=tuple(config["std"]))  # type: ignore[arg-type]
    if layout == OURS:
        return Conventions("the model's own; the file has no description")
    known = row or (names.recognise(file.path.name, file.sha256) if file.path else None)
    if layout == "tflite":
        return _of_lite(file, known)
    if row is not None:
        return Conventions.of_weights(row, origin="by name")
    if "architecture" in file.metadata:
        return _of_timm_config(file.metadata)
    if known is not None and known.layout == layout:
        return Conventions.of_weights(known, origin="by checksum or file name")
    if (own := _of_created_name(layout, scope, backbone, model, file.tensors)) is not None:
        return Conventions.of_weights(own, origin="the published name under which the model was created")
    candidates = _candidates(layout, file.tensors, backbone, model)
    found = {item.relevant(scope): item for item in reversed(candidates)}
    if len(found) == 1:
        return next(iter(found.values()))
    raise WeightsError(_question(file.source, list(found.values())[::-1]))


def _stated(stated: str | Mapping[str, Any] | Conventions) -> Conventions:
    if isinstance(stated, Conventions):
        return stated
    if isinstance(stated, Mapping):
        return Conventions.of_mapping(stated)
    if stated == "model":
        return Conventions("the model's own, as stated")
    if stated in FAMILIES:
        padding, eps, (mean, std) = FAMILIES[stated]
        return Conventions(f"{stated}, as stated", padding=padding, norm_eps=eps, mean=mean, std=std)
    if (row := names.find(stated)) is not None:
        return Conventions.of_weights(row, origin="as stated")
    known = ", ".join((*FAMILIES, "model"))
    raise UserError(f"conventions={stated!r} are unknown; use the name of weights (`effdet info`) or one of {known}")


def _with_anchors(
    conventions: Conventions, file: WeightFile, layout: str, model: ModelSpec | None, *, own: bool
) -> Conventions:
    """Where the user says nothing of the anchors: the file's own, else those that the target's network was published with.

    Args:
        own: the model's own anchors are right where the file has as many.
    """
    rows = file.tensors.get("box_net.predict.conv_pw.weight")
    if conventions.anchors or model is None or "detection" not in model.heads or rows is None:
        return conventions
    if (facts := file.metadata.get("lite")) is not None:
        stated = conventions.aspects not in (None, facts.aspects)  # compared with the file's own when it is read
        spec = None if stated else lite_anchors(file, facts)
    else:
        row = detector_row(model.name) if layout == "effdet" else None
        spec = None if row is None else anchors_of_row(row)
        if own and spec is not None and rows.shape[0] == 4 * described_anchors(model.heads["detection"]).per_cell:
            spec = None
    return conventions if spec is None else replace(conventions, anchors={"detection": spec})


def _of_timm_config(metadata: Mapping[str, Any]) -> Conventions:
    """The ``config.json`` that lies beside a timm file of the Hugging Face hub."""
    model, config = str(metadata["architecture"]), dict(metadata.get("pretrained_cfg") or {})
    if (row := names.find(f"{model}.{config.get('tag')}")) is not None:
        return Conventions.of_weights(row, origin="by its config.json")
    try:
        own = conventions_of(model)
    except ValueError:
        raise WeightsError(
            f"the config.json beside the file says architecture {model!r}, which is no EfficientNet"
        ) from None
    mean, std = config.get("mean"), config.get("std")
    return Conventions(
        origin=f"{model}, by its config.json",
        padding=own.padding,
        norm_eps=own.norm_eps,
        norm_momentum=own.norm_momentum,
        mean=(mean[0], mean[1], mean[2]) if mean else None,
        std=(std[0], std[1], std[2]) if std else None,
    )


def _of_lite(file: WeightFile, row: NamedWeights | None) -> Conventions:
    """Google's ``.tflite`` files: all were written by one program, and say themselves what differs between them."""
    facts: LiteFacts = file.metadata["lite"]
    published = row is not None and row.sha256 is not None and (file.sha256 or "").startswith(row.sha256)
    name = row.name if row is not None and published else f"EfficientDet-Lite{facts.network}"
    mean, std = (
        (BYTE_PIXELS[0][0], BYTE_PIXELS[1][0]) if facts.mean is None or facts.std is None else (facts.mean, facts.std)
    )
    net = backbone_spec(f"tf_efficientnet_lite{facts.network}")
    classes = file.tensors["class_net.predict.conv_pw.weight"].shape[0] // ANCHORS_PER_CELL
    table = lite_classes(facts, classes)
    return Conventions(
        origin=f"{name}, {'by checksum' if published else 'Google’s, by the layout of the file'}",
        **asdict(net.conventions),
        mean=(mean, mean, mean),
        std=(std, std, std),
        resize="stretch",
        interpolation="bilinear",
        crop=1.0,
        fill=(128, 128, 128),
        size=facts.size,
        classes={"detection": table} if table is not None else {},
        aspects=facts.aspects,
        anchors={} if (anchors := lite_anchors(file, facts)) is None else {"detection": anchors},
    )


def lite_anchors(file: WeightFile, facts: LiteFacts) -> AnchorSpec | None:
    """The anchors of a Google file: those that it holds, else those of its network."""
    if facts.scale is not None:
        return AnchorSpec(facts.scale, 3, facts.aspects)
    row = lite_row(file)
    return None if row is None else anchors_of_row(row, facts.aspects)


def lite_row(file: WeightFile) -> DetectorRow | None:
    """The EfficientDet-Lite with the file's width of the neck: each has its own."""
    channels = file.tensors["fpn.cell.0.fnode.0.after_combine.conv.conv_pw.weight"].shape[0]
    return next((row for row in DETECTORS.values() if "_lite" in row.name and row.channels == channels), None)


def lite_classes(facts: LiteFacts, count: int) -> ClassTable | None:
    """The class table of a Google file with `count` rows: its label file's, COCO's for 90 rows, else None."""
    coco = class_table("coco90")
    labels = facts.labels
    if labels is None or len(labels) != count or labels == coco.names:
        return coco if count == len(coco) else None
    return ClassTable(labels, tuple(None if name is None else row for row, name in enumerate(labels, start=1)))


def _of_created_name(
    layout: str, scope: str, backbone: BackboneSpec, model: ModelSpec | None, keys: Iterable[str]
) -> NamedWeights | None:
    """The published file of the name under which the target was created, if its files are in this layout.

    A backbone file in a model has another owner than the model's name: then nothing is known.
    """
    if model is not None and scope == "backbone":
        return None
    rows = [row for row in names.for_model(backbone.name if model is None else model.name) if row.layout == layout]
    if layout == "effdet":
        rows = [row for row in rows if row in _detectors(layout, set(keys), backbone, model)]
    return next((row for row in rows if row.default), rows[0] if len(rows) == 1 else None)


def _candidates(layout: str, keys: Iterable[str], backbone: BackboneSpec, model: ModelSpec | None) -> list[Conventions]:
    """Published files of this layout whose tensors are those of the target."""
    if layout == "effdet":
        rows = _detectors(layout, set(keys), backbone, model)
    else:
        rows = [row for row in names.all_weights() if row.layout == layout and _same_network(row.model, backbone.name)]
    return [Conventions.of_weights(row, origin="the only one that fits") for row in rows]


def _same_network(first: str, second: str) -> bool:
    try:
        return architecture(first) == architecture(second)
    except ValueError:  # a network of the user's own
        return False


def _detectors(layout: str, keys: set[str], backbone: BackboneSpec, model: ModelSpec | None) -> list[NamedWeights]:
    """Rows of the target's name with or without ``tf_`` and ``_ap``; for a model of another name, those on its backbone."""
    biased = any(key.endswith("after_combine.conv.conv_pw.bias") for key in keys)
    rows = []
    for row in names.all_weights():
        detector = detector_row(row.model)
        # Redundant biases tell tf_efficientdet_d0 from efficientdet_d0.
        if row.layout == layout and detector is not None and detector.redundant_bias == biased:
            rows.append((row, detector))
    plain = _plain(model.name) if model else ""
    named = [row for row, _ in rows if _plain(row.model) == plain]
    return named or [row for row, detector in rows if _same_network(detector.backbone, backbone.name)]


def _plain(model: str) -> str:
    return names.canonical(model).removeprefix("tf_").removesuffix("_ap")


def _question(source: str, candidates: list[Conventions]) -> str:
    if not candidates:
        families = ", ".join(FAMILIES)
        return (
            f"{source}: its padding, BatchNorm epsilon and pixel statistics are open, and no published file has these "
            f"tensors; say conventions={families} (or model, if the model's own are right)"
        )
    shown = "; ".join(str(item) for item in candidates)
    return (
        f"{source}: its conventions are open, the tensors fit {shown}; "
        "say conventions=NAME with one of these (or model, if the model's own are right)"
    )
