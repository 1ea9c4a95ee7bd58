"""The data of a configuration: its splits, the checks of their images, loaders, evaluators and the report.

``effdet evaluate`` imports this and no Lightning, which takes a second and more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from effdet.cli.config import Config
from effdet.cli.run import is_first
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
from effdet.data.images import OnError
from effdet.data.preflight import cut_off, report, undecodable, without_undecodable
from effdet.data.sampling import Repeats, chosen_repeats
from effdet.data.train_set import WHOLE
from effdet.evaluation import ClassMapWriter, EvaluationResult, Evaluator, LossEvaluator, SemanticEvaluator
from effdet.inference.fusion import fusion_shares
from effdet.inference.runtime_model import RuntimeModel
from effdet.inference.sources import find_images
from effdet.model import VisionModel
from effdet.plugins import TARGET
from effdet.plurals import counted
from effdet.report import DataFacts, Facts, Gallery, measured, report_page
from effdet.report.statistics.files import Recorded, SplitIdentity, write_statistics
from effdet.tasks import Kit, head_reports, kit_for, kits_of
from effdet.training.loader import LoaderFactory
from effdet.weights.hashes import tensors_hash
from effdet.weights.info import environment
from effdet.workers import cores
from heads.structures import UserError

EVAL_BATCH = 8
"""Images at once in the evaluations of a training, as `evaluate` does by default: the numbers then agree to the bit."""


def open_split(config: Config, split: str, *, requested: Sequence[str] | None = None) -> Dataset:
    """The split of the configured data set.

    Args:
        requested: labels to read where the set has them (masks cost time); None reads all.
    """
    return open_dataset(data_spec(config, split, requested=requested))


def data_spec(config: Config, split: str, *, requested: Sequence[str] | None = None) -> DataSpec:
    """The configured data set, as the readers take it."""
    known = {field.name for field in fields(DataSpec)} - {
        "split",
        "max_images",
        "requested",
        "objects",
        "keys",
        "target",
    }
    values = config.get("data")
    if TARGET in values:
        own = {key: value for key, value in values.items() if f"data.{key}" not in shared("data")}
        values = {**{key: value for key, value in values.items() if key not in own}, "target": own}
        known = (known & values.keys()) | {"target"}
    values = {key: value for key, value in values.items() if key in known}
    share = config.get("augment.copy_paste")
    pastes = split == "train" and isinstance(share, float | int) and share > 0
    return DataSpec(split=split, max_images=config.max_images, requested=requested, objects=pastes, **values)


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


def unlabelled_images(config: Config) -> list[Path]:
    """The files that ``data.unlabelled`` names.

    Raises:
        DataError: there are none.
    """
    name = config.get("data.unlabelled")
    if name is None:
        return []
    try:
        return find_images(str(Path(name).expanduser()))
    except UserError as error:
        raise DataError(str(error).replace("source=", "data.unlabelled=", 1)) from None


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
    mixes = source.labelled <= WHOLE and (train_set.augment.mixup > 0 or train_set.augment.cutmix > 0)
    collate_fn = MixCollate(train_set.augment_at, classes=len(source.classes), seed=config.seed) if mixes else collate
    factors = repeats(config, source).factors

    def build(*, batch_size: int, rank: int, world: int) -> TrainLoader:
        return TrainLoader(
            train_set,
            batch_size,
            workers=workers,
            rank=rank,
            world=world,
            factors=factors,
            pin_memory=cuda,
            accumulate=config.trainer.accumulate_grad_batches,
            collate=collate_fn,
        )

    return build


def repeats(config: Config, source: Dataset) -> Repeats:
    """How often each training image comes, by ``data.repeat_threshold``."""
    names = [str(name) for name in source.classes.names]
    return chosen_repeats(source.records, names, config.get("data.repeat_threshold"))


def planned_epochs(config: Config) -> int | None:
    """Epochs of the whole run, or None where something else ends it."""
    epochs = config.get("trainer.max_epochs")
    return epochs if epochs is not None and epochs > 0 else None


def progression(config: Config) -> Progression:
    """How size and regularisation grow over the run; not at all where the configuration has no such section."""
    return Progression.from_dict(config.get("progressive") or {}).within(planned_epochs(config))


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
        wanted = ", ".join(f"{name} ({kit.label})" for name, kit in kits_of(model).items())
        raise UserError(
            f"the model has heads {wanted}, and data={source.name} labels {', '.join(sorted(source.labelled))}: there is "
            "nothing to evaluate. A head is evaluated where the data labels what its kit names (boxes, semantic, …)"
        )
    if class_maps is not None:
        writing = next((one for one in made.values() if isinstance(one, SemanticEvaluator)), None)
        if writing is None:
            raise UserError(f"class_maps=true: the model and data={source.name} must both have segmentation maps")
        writing.write = ClassMapWriter(class_maps, writing.classes.data, void=source.void_id)
    return made


USUAL = 100
"""Detections of an image, as COCO counts them."""


def decoded(
    config: Config, val: Dataset, *, train: Dataset | None = None, lost: str = "they are left out of every evaluation"
) -> Dataset:
    """`val`, a split to evaluate on, without the images that cannot be decoded.

    Args:
        config: says whether others are an error.
        val: the split.
        train: looked at as well; None where it has been, before the run was interrupted or by another process.
        lost: in the warning, what becomes of those of `val`.

    Raises:
        DataError: images of either split cannot be decoded, and ``data.unreadable`` is ``error``; both splits in one.
    """
    on_error: OnError = config.get("data.unreadable", "error")
    broken, lines = undecodable(val), []
    if train is not None and (short := cut_off(train)):
        lines.append(
            report(train, short, on_error, becomes="what is there of them is learnt from, the rest left blank")
        )
    if broken:
        lines.append(report(val, broken, on_error, becomes=lost))
    if lines and on_error == "error":
        raise DataError("\n".join(lines))
    if is_first():
        for line in lines:
            print(f"warning: {line}")
    return without_undecodable(val, broken)


def following(config: Config, val: Dataset) -> Config:
    """`config` with ``max_detections`` large enough for the fullest image of `val`, where the user leaves it open."""
    capped = any("max_detections" in kit_for(name).postprocess_keys for name in config.get("head"))
    if config.get("max_detections") is not None or not capped or "boxes" not in val.labelled:
        return config
    table = val.records
    owners = np.repeat(np.arange(len(table)), np.diff(table.starts))
    counts = np.bincount(owners[~table.crowd], minlength=len(table))
    most = int(counts.max(initial=0))
    if most <= USUAL:
        return config
    cap = math.ceil(most / USUAL) * USUAL
    if is_first():
        print(
            f"max_detections={cap}: an image of val holds {most} objects. COCO's numbers count at most {USUAL} of a class in "
            f"an image; where there are more, AP@N beside them counts N"
        )
    return config.replacing({"max_detections": cap})


PAGE = "report.html"
STATISTICS = "statistics.npz"


def write_report(
    directory: Path,
    *,
    title: str,
    result: EvaluationResult,
    evaluators: Mapping[str, Evaluator],
    gallery: Gallery,
    model: VisionModel | RuntimeModel,
    source: str | None,
    splits: Sequence[Dataset],
    config: str,
    times: Mapping[str, str] | None = None,
    summary: Sequence[str] = (),
    page: bool = True,
) -> Path | None:
    """Write both into `directory`; the last of `splits` is the one that was evaluated.

    Args:
        folder: of the results; its ``metrics.csv``, if there is one, becomes curves.
        title: of the page.
        result, evaluators: of the evaluation.
        gallery: its images.
        model: what was evaluated.
        source: where its weights were read.
        splits: data to describe.
        config: as YAML.
        times: besides that of the evaluation.
        summary: sentences at the top.
        page: False writes only ``statistics.npz``.

    Returns:
        The page, if there is one.
    """
    reports = head_reports(kits_of(model), evaluators)
    evaluated = splits[-1]
    write_statistics(
        directory / STATISTICS,
        Recorded(
            SplitIdentity(evaluated.name, evaluated.split, evaluated.fingerprint()),
            {head: report.statistic for head, report in reports.items()},
            {head: report.images for head, report in reports.items()},
        ),
    )
    if not page:
        return None
    facts = Facts(
        data=[_data_facts(split) for split in splits],
        model=_model_facts(model, source),
        machine=environment(),
        times={
            **(times or {}),
            "evaluation": f"{result.seconds:.1f} s, {result.images_per_second:.1f} images a second",
        },
        config=config,
        fusion=[] if isinstance(model, RuntimeModel) else fusion_shares(model),
    )
    written = report_page(
        title,
        f"{counted(result.images, 'image', ',')} of {evaluated.name} {evaluated.split}",
        metrics=result.metrics,
        reports=reports,
        intervals=measured(reports),
        facts=facts,
        gallery=gallery,
        curves=directory / "metrics.csv",
        summary=summary,
    )
    return written.write(directory / PAGE)


def _model_facts(model: VisionModel | RuntimeModel, source: str | None) -> dict[str, str]:
    height, width = model.preprocess.size
    if isinstance(model, RuntimeModel):  # its weights are the runtime's
        own = {"exported as": f"{model.format}, {model.info.precision}{', NMS inside' if model.info.nms else ''}"}
    else:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        own = {"sha256 of the weights": tensors_hash(model), "parameters": f"{parameters:,}"}
    return {
        "model": model.spec.name,
        "weights": source or "of this training",
        **own,
        "input": f"{height} × {width}, {model.preprocess.resize}",
        "heads": ", ".join(f"{name} ({counted(len(table), 'class')})" for name, table in model.classes.items()),
    }


def _data_facts(source: Dataset) -> DataFacts:
    boxes: dict[str, int] = {}
    if "boxes" in source.labelled:
        table = source.records
        counts = np.bincount(table.labels[~table.crowd], minlength=len(source.classes))
        boxes = {str(name): int(count) for name, count in zip(source.classes.names, counts, strict=True)}
    return DataFacts(source.name, source.split, len(source), source.fingerprint(), boxes, list(source.warnings))
