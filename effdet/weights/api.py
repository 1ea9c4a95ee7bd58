"""The public API: ``create_model``, ``load``, ``load_weights``, ``save``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.spec import AnyBackboneSpec
from effdet import plugins
from effdet.files import replacing
from effdet.model import BalanceSpec, FoldedModel, ModelSpec, VisionModel, build, spec_for
from effdet.scaling import detector_row
from effdet.weights import names
from effdet.weights.class_tables import class_table, is_unnamed
from effdet.weights.decide import Stated, lite_row
from effdet.weights.layouts import detect_layout
from effdet.weights.loading import WeightSource, load_file, load_weights
from effdet.weights.read import METADATA_KEY, BoundsError, WeightFile, WeightsError, read_weights
from effdet.weights.rows import NamedWeights
from effdet.weights.statistics import Images
from effdet.weights.tflite import ANCHORS_PER_CELL, LiteFacts
from heads.structures import ClassTable, UserError

__all__ = ["create_model", "load", "load_weights", "save"]

MAX_NUMBER = 65536
"""The largest side, width or count that a model description may hold; the largest in use are some thousands."""
MAX_DEPTH = 16
FILE_FORMAT = 1
"""Of what :func:`save` writes beside the tensors."""


def create_model(
    name: str | None = None,
    *,
    task: str | None = None,
    backbone: str | AnyBackboneSpec | None = None,
    phi: float | None = None,
    num_classes: int | Mapping[str, int] | None = None,
    classes: ClassTable | Mapping[str, ClassTable] | None = None,
    image_size: int | tuple[int, int] | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    neck: Mapping[str, Any] | None = None,
    heads: Mapping[str, Mapping[str, Any]] | None = None,
    balance: BalanceSpec | None = None,
    weights: WeightSource | bool | None = None,
    conventions: Stated = None,
    strict: bool = True,
    trust: bool = False,
    images: Images | None = None,
) -> VisionModel:
    """Build a model, by a published name or from a task and a backbone.

    Args:
        name, task, backbone, phi, num_classes, classes, image_size, backbone_options, neck, heads, balance: As
            :func:`effdet.model.spec_for` takes them.
        weights: None for fresh ones; True for the published ones of `name`; else as :func:`load_weights` takes them. A
            name that is not cached is fetched.
        conventions, strict, trust, images: As :func:`load_weights` takes them.

    Returns:
        The model in training mode. With published weights of its own it has their classes and, unless `image_size` is
        given, their input size.
    """
    spec = spec_for(
        name,
        task=task,
        backbone=backbone,
        phi=phi,
        num_classes=num_classes,
        classes=classes,
        image_size=image_size,
        backbone_options=backbone_options,
        neck=neck,
        heads=heads,
        balance=balance,
    )
    if name is not None and classes is None:
        spec = _with_published_classes(spec)
    model = build(spec)
    if weights is None or weights is False:
        return model
    if weights is True:
        if name is None or names.find(name) is None:
            raise UserError(f"weights=True needs the name of a published model, got {name!r}; `effdet info` lists them")
        weights = name
    path, row = names.locate(weights) if isinstance(weights, (str, Path)) else (weights, None)
    file = read_weights(path, trust=trust)
    report = load_file(model, file, row=row, strict=strict, conventions=conventions, images=images)
    row = row or (names.recognise(file.path.name, file.sha256) if file.path else None)
    facts: LiteFacts | None = file.metadata.get("lite")
    size = facts.size if facts is not None else None if row is None else row.size
    if size is not None and report.scope == "model" and image_size is None:
        model.spec = model.spec.replace(preprocess=model.spec.preprocess.fitted(size))
    return model


def _with_published_classes(spec: ModelSpec) -> ModelSpec:
    """Names for classes that only count, where a published model has as many."""
    row = names.find(spec.name) or next(iter(names.for_model(spec.name)), None)
    if row is None or row.classes is None:
        return spec
    head, table = "detection" if detector_row(row.model) else "classification", class_table(row.classes)
    if head not in spec.classes or len(spec.classes[head]) != len(table) or not is_unnamed(spec.classes[head]):
        return spec
    return spec.replace(classes={**spec.classes, head: table})


def load(
    source: str | Path, *, device: str | torch.device = "cpu", trust: bool = False, raw: bool = False
) -> VisionModel:
    """A model from a file that describes itself.

    Args:
        source: A run's folder (its best checkpoint, else its last), one of its checkpoints, a ``.safetensors`` of
            :func:`save`, or a published file or name.
        raw: Of a checkpoint, the raw weights and not their average.

    Returns:
        The model in evaluation mode on `device`.

    Raises:
        UserError: nothing is there, or the file does not say what model it holds.
    """
    path, row = _file_of(source)
    file = read_weights(path, trust=trust, raw=raw)
    if "spec" in file.metadata:
        model = build_described(file.metadata["spec"], file.tensors, str(file.path or file.source), trust=trust)
        load_file(model, file, statistics=False)
    else:
        model = _published(file, row)
    return model.to(device).eval()


def _file_of(source: str | Path) -> tuple[Path, NamedWeights | None]:
    directory = Path(source).expanduser()
    if not directory.is_dir():
        return names.locate(source)
    for candidate in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "best.ckpt", "last.ckpt"):
        if (directory / candidate).is_file():
            return directory / candidate, None
    raise WeightsError(
        f"{directory} is not a finished run: it holds no checkpoints/best.ckpt and no checkpoints/last.ckpt"
    )


def _published(file: WeightFile, row: NamedWeights | None) -> VisionModel:
    if (facts := file.metadata.get("lite")) is not None:
        model = build(spec_for(_lite_name(file), num_classes=_lite_rows(file), image_size=facts.size))
        load_file(model, file)
        return model
    row = row or (names.recognise(file.path.name, file.sha256) if file.path else None)
    if row is None:
        detect_layout(file.tensors)  # an unreadable layout is the better thing to complain about
        raise WeightsError(
            f"{file.source} does not say what model it holds; build it with create_model(NAME) and fill it with load_weights"
        )
    classes = None if row.classes is None else len(class_table(row.classes))
    model = build(spec_for(row.model, num_classes=classes, image_size=row.size))
    load_file(model, file, row=row)
    return model


def _lite_name(file: WeightFile) -> str:
    """The EfficientDet-Lite with the file's width of the neck: each has its own."""
    if (row := lite_row(file)) is not None:
        return row.name
    channels = file.tensors["fpn.cell.0.fnode.0.after_combine.conv.conv_pw.weight"].shape[0]
    raise WeightsError(
        f"{file.source}: there is no EfficientDet-Lite with {channels} channels in its neck; "
        "build it with create_model and fill it with load_weights"
    )


def _lite_rows(file: WeightFile) -> int:
    return file.tensors["class_net.predict.conv_pw.weight"].shape[0] // ANCHORS_PER_CELL


def save(model: VisionModel, path: str | Path, *, notes: dict[str, Any] | None = None) -> Path:
    """Write a model's weights with its description, class tables and preprocessing.

    The file appears whole or not at all: it is written beside its place, synced and renamed.

    Args:
        path: Ends with ``.safetensors``.
        notes: JSON-able values to keep with it, such as where the weights come from.

    Returns:
        The path.
    """
    path = Path(path).expanduser()
    if isinstance(model, FoldedModel) or not isinstance(model, VisionModel):
        raise UserError(f"a {type(model).__name__} can't be saved: save the model itself, before fold()")
    if path.suffix != ".safetensors":
        raise UserError(f"the file name {path.name!r} must end with .safetensors")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file")
    from safetensors.torch import save_file

    description = {
        "format": FILE_FORMAT,
        "spec": model.spec.to_dict(),
        "torch": torch.__version__,
        "notes": notes or {},
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={METADATA_KEY: json.dumps(description), "format": "pt"})
    return path


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
