"""The model of a configuration: its description, opened with its weights, or made a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from backbones.spec import ExternalSpec
from effdet.cli.config import Config, as_size
from effdet.cli.data import data_spec
from effdet.cli.overrides import did_you_mean
from effdet.data import (
    Dataset,
)
from effdet.data.transforms import check_transforms
from effdet.inference import Predictor
from effdet.inference.runtime_model import RuntimeModel, own_postprocess
from effdet.inference.runtimes import is_exported
from effdet.model import Architecture, BalanceSpec, ModelSpec, VisionModel, heads_of, names, read_model_file, spec_for
from effdet.model.spec import EXTERNAL, HeadSpec
from effdet.plugins import TARGET, check, check_all, is_target
from effdet.scaling import detector_row
from effdet.tasks import chief_metrics, kit_for
from effdet.tasks.detection import DetectionKit
from effdet.weights import create_model, load
from effdet.weights import names as weight_names
from heads.semantic_inference import SemanticInference
from heads.structures import ClassTable, UserError


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model to use."""

    model: Path | None
    """A run folder, a checkpoint or .safetensors file, or the name of a published model; must be given."""
    weights: Literal["auto"] | Path | None
    """For a model by name, its weights; auto may download the published ones."""
    conventions: str | None
    """What a weight file does not state, as the name of the model that it was made for; required only where it matters."""
    strict: bool
    """false loads weights that fit only in part, and reports what was left over."""
    trust: bool
    """true reads weight files that hold pickled code, and imports the ``_target_`` classes that a file names; such a file
    can run any code on this machine."""


@dataclass(frozen=True, kw_only=True)
class Semantic(SemanticInference):
    """How segmentation maps are found; the defaults are one pass over the whole image."""

    sliding: tuple[int, int] | None
    """Height and width in pixels of windows that slide over the input (with image_size= as large as the images);
    sides in multiples of 32."""


@dataclass(frozen=True, kw_only=True)
class ModelKeys(OpenModel):
    """A model to use, its input, and which of its detections are kept."""

    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null is the model's own."""
    nms_iou: Annotated[float, "0..1"] | None
    """NMS: of two boxes of a class with a higher IoU, only the better is kept; null is the model's own."""
    max_detections: Annotated[int, "1.."] | None
    """Detections per image; null is the model's own."""


@dataclass(frozen=True, kw_only=True)
class InferenceKeys(ModelKeys):
    """How a model is run."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""
    precision: Literal["fp32", "bf16", "fp16"] | None
    """Arithmetic of the network; null is fp32."""
    semantic: Semantic


POSTPROCESS = DetectionKit.postprocess_keys


def check_targets(config: Config) -> None:
    """Imports every ``_target_`` of data, augmentation, backbone and heads, and compares it with the arguments given.

    Raises:
        UserError: one cannot be imported, or doesn't take the arguments.
    """
    check_transforms(config.get("augment.transforms"))
    if (target := data_spec(config, "train").target) is not None:
        check(target, split="train")
    if is_target(backbone := config.get("backbone")):
        check({key: value for key, value in backbone.items() if key != "name"})
    for name, options in (config.get("head") or {}).items():
        if not is_target(options):
            check_all(options)  # matcher and losses
            continue
        check({key: value for key, value in options.items() if key != "kit"}, channels={}, num_classes=0)
        if is_target(kit := options.get("kit")):
            try:
                check(kit, name)
            except UserError as error:
                raise UserError(
                    f"{error}; a kit is called with its head's name first, then with its own arguments"
                ) from None


def class_tables(source: Dataset, config: Config) -> dict[str, ClassTable]:
    """The classes of each head of the model, as the data has them."""
    options = config.get("head")
    names = heads_of(config.task.name, options)
    return {name: kit_for(name, _own(name, options)).classes(source) for name in names}


def requested_labels(config: Config) -> tuple[str, ...]:
    """What data must label: for the task, and for the heads of the user's own."""
    heads = config.get("head")
    own = {name: spec for name in heads_of(config.task.name, heads) if (spec := _own(name, heads)) is not None}
    labels = (kit_for(name, spec).label for name, spec in own.items())
    return tuple(dict.fromkeys([*config.task.needs, *(label for label in labels if label is not None)]))


def _own(name: str, heads: Mapping[str, Mapping[str, Any]]) -> HeadSpec | None:
    """The head `name` of `heads` where it is the user's own."""
    options = heads.get(name, {})
    return HeadSpec(EXTERNAL, {}, options[TARGET], options.get("kit")) if is_target(options) else None


def model_spec(
    config: Config,
    *,
    classes: Mapping[str, ClassTable] | None = None,
    num_classes: int | None = None,
    architecture: Architecture | None = None,
) -> ModelSpec:
    """The model that the configuration describes: by its name, by phi, by a model file, or by its backbone.

    Args:
        architecture: taken instead of what the configuration chooses.
    """
    choice: dict[str, Any] = chosen_model(config) if architecture is None else {"architecture": architecture}
    heads, balance = config.get("head"), config.get("task.balance")
    for name, options in heads.items():
        if (keys := kit_for(name).postprocess_keys) and _own(name, heads) is None:
            options["postprocess"] = options.get("postprocess", {}) | {key: config.get(key) for key in keys}
    return described(
        **choice,
        task=config.task.name,
        classes=classes,
        num_classes=num_classes,
        image_size=input_size(config) if architecture is None else config.get("image_size"),
        backbone_options=backbone_options(config),
        neck=config.get("neck"),
        heads=heads,
        balance=balance and BalanceSpec(balance.pop("rule"), balance),
        preprocess=config.get("preprocess"),
    )


def with_postprocess(spec: ModelSpec, config: Config) -> ModelSpec:
    """`spec` with what `config` says of the making of detections, which a resume may ask to be otherwise."""
    heads = dict(spec.heads)
    for name, head in heads.items():
        keys = kit_for(name, head).postprocess_keys
        if keys and head.kind != EXTERNAL:
            kept = {key: value for key, value in head.options.get("postprocess", {}).items() if key not in keys}
            chosen = {key: config.get(key) for key in keys if config.get(key) is not None}
            heads[name] = replace(head, options={**head.options, "postprocess": kept | chosen})
    return spec.replace(heads=heads)


def described(name: str | None = None, **options: Any) -> ModelSpec:
    """:func:`effdet.model.spec_for`, whose every complaint is about what the user wrote."""
    try:
        return spec_for(name, **options)
    except ValueError as error:  # backbones stand below UserError, and raise plain ones
        raise UserError(str(error)) from error


def input_size(config: Config) -> int | tuple[int, int] | None:
    """What the user said, else the canvas of a generated set; None for the model's own, which a model file always has."""
    size = config.get("image_size")
    if size is None and config.get("architecture.path") is None and is_generated(config):
        size = config.get("data.size")
    return as_size(size)


def is_generated(config: Config) -> bool:
    """The set is the project's, drawn by code."""
    return config.get("data.name") == "streets"


def with_monitor(config: Config) -> Config:
    """`config` with the metrics that choose the best checkpoint: the chief ones of its heads where the user names none."""
    if config.task.monitor is not None:
        return config
    heads = config.get("head")
    names = chief_metrics({name: kit_for(name, _own(name, heads)) for name in heads_of(config.task.name, heads)})
    return config.replacing({"task.monitor": names[0] if len(names) == 1 else list(names)})


def semantic_inference(config: Config) -> SemanticInference:
    """How `evaluate` and `predict` find segmentation maps."""
    values = dict(config.get("semantic"))
    return SemanticInference(window=values.pop("sliding"), **values)


def torch_device(name: str) -> str:
    """``auto``: the best that there is."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((kind for kind, is_there in there.items() if is_there), "cpu")
    if not there.get(name, True):
        raise UserError(f"device={name}: this machine has none that torch can use; take device=cpu or device=auto")
    return name


FILE = "file"
"""The choice ``backbone=file``, which takes the backbone of ``backbone.path``."""


def chosen_model(config: Config) -> dict[str, Any]:
    """The arguments `name`, `backbone`, `phi` and `architecture` of :func:`effdet.model.spec_for`.

    Raises:
        UserError: the model file is not there or not one.
    """
    path = config.get("architecture.path")
    by_backbone = config.model is None and config.phi is None and path is None
    backbone = config.backbone.name if by_backbone else None
    if backbone is not None and (external := external_backbone(config)) is not None:
        backbone = external
    elif backbone == FILE:
        backbone = read_model_file(config.backbone.path).backbone
    return {
        "name": config.model,
        "backbone": backbone,
        "phi": config.phi,
        "architecture": None if path is None else read_model_file(path),
    }


def external_backbone(config: Config) -> ExternalSpec | None:
    """The network of timm, or the class of the user's own, that ``backbone`` names."""
    values: dict[str, Any] = config.get("backbone")
    name = str(values.pop("name"))
    if TARGET in values:
        return ExternalSpec("target", name, values)
    if values.pop("library", None) is None:
        return None
    return ExternalSpec("timm", name, {key: value for key, value in values.items() if value not in (None, {})})


def backbone_options(config: Config) -> dict[str, Any]:
    """Fields of the backbone that the overrides may change."""
    if external_backbone(config) is not None:
        return {}
    return {key: value for key, value in config.get("backbone").items() if key not in ("name", "path")}


def open_model(config: Config) -> VisionModel | RuntimeModel:
    """The model of ``model=`` and ``weights=``, in evaluation mode on the CPU; an exported file in its own runtime.

    Raises:
        UserError: there is no such model, or a published name comes without weights.
    """
    model, weights = config.model, config.weights
    if weights is not None:
        if Path(model).exists():
            raise UserError(f"model={model} weights={weights}: the file brings its own weights; leave weights= out")
        check_name(model)
        return create_model(
            model,
            weights=True if weights == "auto" else weights,
            conventions=config.conventions,
            strict=config.strict,
            trust=config.trust,
        ).eval()
    if is_exported(model):
        return RuntimeModel.open(model, trust=config.trust)
    if Path(model).exists():
        return load(model, trust=config.trust)
    check_name(model)
    row = weight_names.find(model)
    if row is None or row.cached() is None:
        fix = "weights=auto fetches the published ones" if row is not None else "weights=FILE names yours"
        raise UserError(f"model={model}: it has no weights; {fix}")
    return load(row.name, trust=config.trust)


def open_network(config: Config) -> VisionModel:
    """:func:`open_model` for what has to look inside.

    Raises:
        UserError: as there, and for an exported file, whose network is the runtime's own.
    """
    model = open_model(config)
    if isinstance(model, RuntimeModel):
        raise UserError(
            f"model={config.model}: an exported file only predicts; give the run or checkpoint it came from"
        )
    return model


def check_name(name: str, *, key: str = "model") -> None:
    """Refuse a model that is neither there nor known, with the name that was most likely meant."""
    known = [*names(), *(row.name for row in weight_names.all_weights())]
    if "/" in name or name.endswith((".ckpt", ".safetensors", ".pth", ".pt")):
        if name not in known:
            raise UserError(f"{key}={name}: no such file or folder")
    elif name not in known and detector_row(name) is None:
        raise UserError(f"{key}={name}: neither a file nor a model{did_you_mean(name, known)} (effdet info lists them)")


def open_predictor(config: Config, *, score_threshold: float | None) -> Predictor:
    """The predictor of ``model=``, ``weights=``, ``device=`` and the keys of post-processing.

    Args:
        config: of a command with those keys.
        score: lowest score of a detection; of no consequence to a model that finds none.
    """
    model = open_model(config)
    score_threshold = None if own_postprocess(model) is None else score_threshold
    return Predictor(
        model,
        "cpu" if isinstance(model, RuntimeModel) and config.device == "auto" else torch_device(config.device),
        precision=config.precision,
        image_size=as_size(config.image_size),
        batch_size=config.batch_size,
        score_threshold=score_threshold,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        semantic=semantic_inference(config),
    )
