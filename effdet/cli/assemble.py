"""From a configuration to the arguments of the rooms: the one place that knows both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from effdet.cli.choice import backbone_options, chosen_model
from effdet.cli.config import Config
from effdet.data import (
    AugmentSpec,
    DataError,
    DataSpec,
    EvalSet,
    MixCollate,
    Progression,
    Source,
    StagedTrainSet,
    TrainLoader,
    collate,
    open_source,
)
from effdet.data import repeat_factors as rare_class_factors
from effdet.evaluation import (
    ClassificationEvaluator,
    ClassJoin,
    ClassMapWriter,
    DetectionEvaluator,
    EmbeddingEvaluator,
    Evaluator,
    SemanticEvaluator,
    join,
    same_classes,
)
from effdet.inference.runtime_model import RuntimeModel
from effdet.model import Architecture, BalanceSpec, ModelSpec, VisionModel, spec_for
from effdet.model.compose import TASK_HEADS
from effdet.training.loader import LoaderFactory
from heads.semantic_inference import SemanticInference
from heads.semantic_losses import balanced_weights
from heads.structures import ClassTable, UserError

EVAL_BATCH = 8
"""Pictures at once in the evaluations of a training, as `evaluate` does by default: the numbers then agree to the bit."""
POSTPROCESS = ("score", "nms_iou", "max_detections")


def open_split(config: Config, split: str, *, wanted: Sequence[str] | None = None) -> Source:
    """The split of the configured data set.

    Args:
        wanted: labels to read where the set has them (masks cost time); None reads all.
    """
    return open_source(data_spec(config, split, wanted=wanted))


def data_spec(config: Config, split: str, *, wanted: Sequence[str] | None = None) -> DataSpec:
    """The configured data set, as the readers take it."""
    known = {field.name for field in fields(DataSpec)} - {"split", "limit", "wanted", "keys"}
    values = {key: value for key, value in config.get("data").items() if key in known}
    return DataSpec(split=split, limit=config.limit, wanted=wanted, **values)


def open_splits(config: Config, *splits: str, wanted: Sequence[str] | None = None) -> list[Source]:
    """Several splits, with the errors of all of them told at once."""
    sources, errors = [], []
    for split in splits:
        try:
            sources.append(open_split(config, split, wanted=wanted))
        except DataError as error:
            errors.append(str(error))
    if errors:
        raise DataError("\n".join(dict.fromkeys(errors)))
    return sources


def class_tables(source: Source, task: str) -> dict[str, ClassTable]:
    """The classes of each head of `task`, as the data has them."""
    return {
        head: JUDGEMENTS[head].classes(source) if head in JUDGEMENTS else source.classes for head in TASK_HEADS[task]
    }


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
    if "detection" in heads:
        chosen = {key: config.get(key) for key in POSTPROCESS}
        heads["detection"]["postprocess"] = heads["detection"].get("postprocess", {}) | chosen
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
    head = spec.heads.get("detection")
    if head is None:
        return spec
    kept = {key: value for key, value in head.options.get("postprocess", {}).items() if key not in POSTPROCESS}
    chosen = {key: config.get(key) for key in POSTPROCESS if config.get(key) is not None}
    changed = replace(head, options={**head.options, "postprocess": kept | chosen})
    return spec.replace(heads={**spec.heads, "detection": changed})


def _balance(config: Config) -> BalanceSpec | None:
    """``task.balance``, of a task with several heads."""
    values = config.get("task.balance")
    if values is None:
        return None
    return BalanceSpec(values["rule"], {head: weight for head, weight in values.items() if head != "rule"})


def with_class_weights(spec: ModelSpec, source: Source) -> ModelSpec:
    """`spec` with numbers where its semantic loss names a rule by which `source`'s classes are weighed."""
    head = spec.heads.get("semantic")
    rule = None if head is None else head.options.get("loss", {}).get("class_weights")
    if head is None or not isinstance(rule, str):
        return spec
    if (pixels := source.records.class_pixels) is None:
        raise UserError(f"loss.class_weights={rule}: data={source.name} has no masks to count; give a list of numbers")
    weights = balanced_weights(pixels.sum(0).tolist(), rule)
    loss = {**head.options["loss"], "class_weights": [round(weight, 4) for weight in weights]}
    changed = replace(head, options={**head.options, "loss": loss})
    return spec.replace(heads={**spec.heads, "semantic": changed})


def described(name: str | None = None, **options: Any) -> ModelSpec:
    """:func:`effdet.model.spec_for`, whose every complaint is about what the user wrote."""
    try:
        return spec_for(name, **options)
    except ValueError as error:  # backbones stand below UserError, and raise plain ones
        raise UserError(str(error)) from error


def input_size(config: Config) -> int | tuple[int, int] | None:
    """What the user said, else the canvas of a generated set; None for the model's own, which a model file always has."""
    size = config.get("image_size")
    if size is None and config.get("architecture.path") is None:
        size = config.get("data.size")
    return tuple(size) if isinstance(size, list) else size


def worker_count(workers: int | None, *, cuda: bool) -> int:
    """Loader processes: as said, else by the cores that this process may use."""
    if workers is not None:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # On a CPU the loader shares the cores with the network, which needs far more of them.
    return min(cores, 8) if cuda else min(max(cores // 4, 1), 4)


def loader_factory(config: Config, source: Source, model: VisionModel, *, workers: int, cuda: bool) -> LoaderFactory:
    """Builds the training loader of one process."""
    train_set = StagedTrainSet(
        source,
        model.preprocess,
        progression=progression(config),
        augment=AugmentSpec(**config.get("augment")),
        seed=config.seed,
        epochs=planned_epochs(config),
        policy=config.get("data.unreadable", "error"),
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


@dataclass(frozen=True)
class Judgement:
    """How a head is judged."""

    label: str
    """What the data must label."""
    metric: str
    """Its chief metric, 1 at best."""
    classes: Callable[[Source], ClassTable]
    """Those of the data's, with which the model's are joined."""
    judge: Callable[[Source, ClassJoin, str], Evaluator]
    oracle: bool = True
    """The pre-flight feeds the labels back as predictions (`truth_predict_fn`): worth it where they have a geometry."""
    joins: bool = True
    """The model's classes must be found in the data; False where both may be strangers to each other."""


JUDGEMENTS: dict[str, Judgement] = {
    "detection": Judgement(
        "boxes",
        "AP",
        lambda source: source.classes,
        lambda source, joined, backend: DetectionEvaluator(source.coco(), joined, backend=backend),
    ),
    "semantic": Judgement(
        "semantic",
        "mIoU",
        lambda source: source.semantic_classes or source.classes,
        lambda source, joined, backend: SemanticEvaluator(joined),
    ),
    "classification": Judgement(
        "category",
        "top1",
        lambda source: source.classes,
        lambda source, joined, backend: ClassificationEvaluator(joined),
        oracle=False,
    ),
    "embedding": Judgement(
        "identity",
        "recall@1",
        lambda source: source.classes,
        lambda source, joined, backend: EmbeddingEvaluator(),
        oracle=False,
        joins=False,
    ),
}
"""By head."""


def judgements(model: VisionModel | RuntimeModel, source: Source) -> dict[str, Judgement]:
    """Those of the heads that the data has labels for."""
    return {
        head: judgement
        for head, judgement in JUDGEMENTS.items()
        if head in model.classes and judgement.label in source.labelled
    }


def _joined(classes: ClassTable, judgement: Judgement, source: Source) -> ClassJoin:
    own = judgement.classes(source)
    return join(classes, own) if judgement.joins else same_classes(own)


def labels_of(model: VisionModel | RuntimeModel) -> list[str]:
    """What the heads of `model` are judged by."""
    return [judgement.label for head, judgement in JUDGEMENTS.items() if head in model.classes]


def evaluators(
    model: VisionModel | RuntimeModel, dataset: EvalSet, *, backend: str = "pycocotools", class_maps: Path | None = None
) -> dict[str, Evaluator]:
    """A judge for every head that the data has labels for.

    Args:
        class_maps: folder to write each picture's predicted class map to, in the set's own ids.
    """
    source = dataset.source
    judges = {
        head: judgement.judge(source, _joined(model.classes[head], judgement, source), backend)
        for head, judgement in judgements(model, source).items()
    }
    if not judges:
        raise UserError(
            f"the model has heads {', '.join(model.classes)}, and data={source.name} labels "
            f"{', '.join(sorted(source.labelled))}: there is nothing to judge"
        )
    if class_maps is not None:
        judge = judges.get("semantic")
        if not isinstance(judge, SemanticEvaluator):
            raise UserError(f"class_maps=true: the model and data={source.name} must both have class maps")
        judge.write = ClassMapWriter(class_maps, judge.classes.data, void=source.void_id)
    return judges


def oracle_evaluators(model: VisionModel, source: Source) -> dict[str, tuple[str, Evaluator]]:
    """(chief metric, judge) by head, for predictions that are the data's own labels."""
    return {
        head: (judgement.metric, judgement.judge(source, same_classes(judgement.classes(source)), "pycocotools"))
        for head, judgement in judgements(model, source).items()
        if judgement.oracle
    }


def semantic_inference(config: Config) -> SemanticInference:
    """How `evaluate` and `predict` find class maps."""
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
