"""Turns a configuration into the arguments of the packages below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from effdet.cli.config import Config, as_size
from effdet.cli.model_choice import backbone_options, chosen_model
from effdet.cli.schema import shared
from effdet.data import (
    AugmentSpec,
    DataError,
    Dataset,
    DataSpec,
    EvalSet,
    MixCollate,
    Progression,
    StagedTrainSet,
    TrainLoader,
    collate,
    open_dataset,
)
from effdet.data import repeat_factors as rare_class_factors
from effdet.data.transforms import check_transforms
from effdet.evaluation import ClassMapWriter, Evaluator, LossEvaluator, SemanticEvaluator
from effdet.inference.runtime_model import RuntimeModel
from effdet.model import Architecture, BalanceSpec, ModelSpec, VisionModel, heads_of, spec_for
from effdet.model.spec import EXTERNAL, HeadSpec
from effdet.plugins import TARGET, check, check_all, is_target
from effdet.tasks import Kit, chief_metrics, kit_for, kits_of
from effdet.tasks.detection import DetectionKit
from effdet.training.loader import LoaderFactory
from effdet.workers import cores
from heads.semantic_inference import SemanticInference
from heads.structures import ClassTable, UserError

EVAL_BATCH = 8
"""Images at once in the evaluations of a training, as `evaluate` does by default: the numbers then agree to the bit."""
POSTPROCESS = DetectionKit.postprocess_keys


def open_split(config: Config, split: str, *, requested: Sequence[str] | None = None) -> Dataset:
    """The split of the configured data set.

    Args:
        requested: labels to read where the set has them (masks cost time); None reads all.
    """
    return open_dataset(data_spec(config, split, requested=requested))


def data_spec(config: Config, split: str, *, requested: Sequence[str] | None = None) -> DataSpec:
    """The configured data set, as the readers take it."""
    known = {field.name for field in fields(DataSpec)} - {"split", "max_images", "requested", "keys", "target"}
    values = config.get("data")
    if TARGET in values:
        own = {key: value for key, value in values.items() if f"data.{key}" not in shared("data")}
        values = {**{key: value for key, value in values.items() if key not in own}, "target": own}
        known = (known & values.keys()) | {"target"}
    values = {key: value for key, value in values.items() if key in known}
    return DataSpec(split=split, max_images=config.max_images, requested=requested, **values)


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
            check(kit, name)


def open_splits(config: Config, *splits: str, requested: Sequence[str] | None = None) -> list[Dataset]:
    """Several splits, with the errors of all of them reported at once."""
    sources, errors = [], []
    for split in splits:
        try:
            sources.append(open_split(config, split, requested=requested))
        except DataError as error:
            errors.append(str(error))
    if errors:
        raise DataError("\n".join(dict.fromkeys(errors)))
    return sources


def class_tables(source: Dataset, config: Config) -> dict[str, ClassTable]:
    """The classes of each head of the model, as the data has them."""
    options = config.get("head")
    names = heads_of(config.task.name, options)
    return {name: kit_for(name, _own(name, options)).classes(source) for name in names}


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
    neck = config.get("neck")
    heads = config.get("head")
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
        neck=neck,
        heads=heads,
        balance=_balance(config),
        preprocess=config.get("preprocess"),
    )


def with_postprocess(spec: ModelSpec, config: Config) -> ModelSpec:
    """`spec` with what `config` says of the making of detections, which a resume may ask to be otherwise."""
    heads = {
        name: _with_postprocess(head, kit_for(name, head).postprocess_keys, config) for name, head in spec.heads.items()
    }
    return spec.replace(heads=heads)


def _with_postprocess(head: HeadSpec, keys: Sequence[str], config: Config) -> HeadSpec:
    if not keys or head.kind == EXTERNAL:
        return head
    kept = {key: value for key, value in head.options.get("postprocess", {}).items() if key not in keys}
    chosen = {key: config.get(key) for key in keys if config.get(key) is not None}
    return replace(head, options={**head.options, "postprocess": kept | chosen})


def _balance(config: Config) -> BalanceSpec | None:
    """``task.balance``, of a task with several heads."""
    values = config.get("task.balance")
    if values is None:
        return None
    return BalanceSpec(values["rule"], {head: weight for head, weight in values.items() if head != "rule"})


def completed(spec: ModelSpec, source: Dataset) -> ModelSpec:
    """`spec` with the options of its heads that are computed from the training data."""
    return spec.replace(heads={name: kit_for(name, head).complete(head, source) for name, head in spec.heads.items()})


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


def worker_count(workers: int | None, *, cuda: bool) -> int:
    """Loader processes: as said, else by the cores that this process may use."""
    if workers is not None:
        return workers
    # On a CPU the loader shares the cores with the network, which needs far more of them.
    return cores(8) if cuda else min(max(cores() // 4, 1), 4)


def loader_factory(config: Config, source: Dataset, model: VisionModel, *, workers: int, cuda: bool) -> LoaderFactory:
    """Builds the training loader of one process."""
    train_set = StagedTrainSet(
        source,
        model.preprocess,
        progression=progression(config),
        augment=AugmentSpec(**config.get("augment")),
        seed=config.seed,
        epochs=planned_epochs(config),
        on_error=config.get("data.unreadable", "error"),
    )
    mixes = train_set.augment.mixup > 0 or train_set.augment.cutmix > 0
    collate_fn = MixCollate(train_set.augment_at, classes=len(source.classes), seed=config.seed) if mixes else collate
    threshold = config.get("data.repeat_threshold")
    factors = None if threshold is None else rare_class_factors(source.records, threshold=threshold)

    def build(*, batch_size: int, rank: int, world: int) -> TrainLoader:
        return TrainLoader(
            train_set,
            batch_size,
            workers=workers,
            rank=rank,
            world=world,
            factors=factors,
            pin_memory=cuda,
            collate=collate_fn,
        )

    return build


def planned_epochs(config: Config) -> int | None:
    """Epochs of the whole run, or None where something else ends it."""
    epochs = config.get("trainer.max_epochs")
    return epochs if epochs is not None and epochs > 0 else None


def progression(config: Config) -> Progression:
    """How size and regularisation grow over the run; not at all where the configuration has no such section."""
    return Progression.from_dict(config.get("progressive") or {}).within(planned_epochs(config))


def with_monitor(config: Config) -> Config:
    """`config` with the metrics that choose the best checkpoint: the chief ones of its heads where the user names none."""
    if config.task.monitor is not None:
        return config
    heads = config.get("head")
    names = chief_metrics({name: kit_for(name, _own(name, heads)) for name in heads_of(config.task.name, heads)})
    return config.replacing({"task.monitor": names[0] if len(names) == 1 else list(names)})


def evaluated_heads(model: VisionModel | RuntimeModel, source: Dataset) -> dict[str, Kit]:
    """The kits of the heads that the data has labels for."""
    return {name: kit for name, kit in kits_of(model).items() if kit.label in source.labelled}


def labels_of(model: VisionModel | RuntimeModel) -> list[str]:
    """The labels that evaluate the heads of `model`."""
    return [kit.label for kit in kits_of(model).values() if kit.label is not None]


def evaluators(
    model: VisionModel | RuntimeModel, dataset: EvalSet, *, backend: str = "pycocotools", class_maps: Path | None = None
) -> dict[str, Evaluator]:
    """An evaluator for every head that the data has labels for.

    Args:
        class_maps: directory to write each image's predicted segmentation map to, in the set's own ids.
    """
    source = dataset.source
    found = {
        name: kit.evaluator(source, kit.join(model.classes[name], source), backend=backend)
        for name, kit in evaluated_heads(model, source).items()
    }
    if isinstance(model, VisionModel):  # a head of which nothing is known is evaluated by its loss
        unknown = {name: kit for name, kit in kits_of(model).items() if kit.label is None}
        found |= {name: LossEvaluator(name, kit.join(model.classes[name], source)) for name, kit in unknown.items()}
    made = {name: evaluator for name, evaluator in found.items() if evaluator is not None}
    if not made:
        raise UserError(
            f"the model has heads {', '.join(model.classes)}, and data={source.name} labels "
            f"{', '.join(sorted(source.labelled))}: there is nothing to evaluate"
        )
    if class_maps is not None:
        writing = next((one for one in made.values() if isinstance(one, SemanticEvaluator)), None)
        if writing is None:
            raise UserError(f"class_maps=true: the model and data={source.name} must both have segmentation maps")
        writing.write = ClassMapWriter(class_maps, writing.classes.data, void=source.void_id)
    return made


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
