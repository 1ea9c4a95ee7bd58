"""What ``effdet train`` brings to a fit: first weights, callbacks, the pre-flight, and its last lines."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from rich.console import Console
from rich.panel import Panel

from backbones.spec import BackboneSpec, ExternalSpec
from effdet.cli.config import Config
from effdet.cli.data import EVAL_BATCH, evaluated_heads, planned_epochs, progression
from effdet.cli.models import check_name, class_tables, model_spec, with_postprocess
from effdet.cli.run import is_first
from effdet.data import Dataset, EvalSet, Progression
from effdet.data.checks import DataError
from effdet.evaluation import Evaluator, ModelPredictFn, evaluate, same_classes
from effdet.inference.runtimes import is_exported
from effdet.model import ModelSpec, VisionModel, build
from effdet.model.external import survey
from effdet.plugins import check_trust, targets
from effdet.tasks import chief_metrics, kit_for, truth_predict_fn
from effdet.tasks.detection import DetectionKit
from effdet.training import FitResult, FitSettings, read_checkpoint
from effdet.training.callbacks.schedules import DropoutSchedule, FreezeAllButHeads
from effdet.training.distillation import Distillation
from effdet.training.loader import LoaderFactory
from effdet.training.monitor import monitor_mode
from effdet.training.preflight import preflight
from effdet.training.settings import DistillationSettings
from effdet.training.starting import Detected, Start, start_of
from effdet.weights import load, load_weights, resolve
from effdet.weights import names as weight_names
from effdet.weights.names import random_warning
from heads.classification import ClassificationHead
from heads.structures import Batch, UserError

Record = dict[str, Any]
"""What checkpoints remember of the first weights: where from, sha256, the load's report."""


def first_model(config: Config, train: Dataset, checkpoint: Path | None) -> tuple[VisionModel, Record, Start]:
    """The model to train, on the CPU, what it starts from, and what that brought.

    A run that goes on builds the model that its checkpoint describes: the weights that it began with may have brought
    conventions of their own.
    """
    if checkpoint is not None:
        saved = read_checkpoint(checkpoint, mmap=True)
        described = json.loads(saved["spec"])
        check_trust(targets(described), origin=checkpoint, trust=config.trust)
        spec = with_postprocess(ModelSpec.from_dict(described), config)
        return build(spec), saved.get("weights") or {"source": None}, Start()
    spec = model_spec(config, classes=class_tables(train, config))
    # Some options of heads are computed from the training data.
    spec = spec.replace(heads={name: kit_for(name, head).complete(head, train) for name, head in spec.heads.items()})
    if isinstance(spec.backbone, ExternalSpec) and spec.neck is not None and is_first():
        print(survey(spec.backbone))
    model = build(spec)
    return model, *first_weights(model, config, train)


def with_options(model: VisionModel, config: Config, train: Dataset, keys: Iterable[str]) -> VisionModel:
    """`model` with the options of backbone and heads that the recipe has chosen, once the weights were known.

    All weights stay but those of layers that another number of anchors gives another shape, which begin anew.

    Args:
        config: with what was chosen.
        keys: what was chosen, such as ``head.detection.loss.matcher``; all other options stay as the weights left them.
    """
    chosen = [key.split(".") for key in keys if key.startswith(("head.", "backbone."))]
    if not chosen:
        return model
    planned, spec = model_spec(config, classes=class_tables(train, config)), model.spec
    for group, *path in chosen:
        if group == "backbone":
            assert isinstance(spec.backbone, BackboneSpec), "the recipe has options for backbones of ours"
            backbone = replace(spec.backbone, **{path[0]: getattr(planned.backbone, path[0])})
            spec = spec.replace(backbone=backbone)
            continue
        name, section, key = path
        value = kit_for(name, planned.heads[name]).complete(planned.heads[name], train).options[section][key]
        options = spec.heads[name].options
        head = replace(spec.heads[name], options={**options, section: {**options.get(section, {}), key: value}})
        spec = spec.replace(heads={**spec.heads, name: head})
    changed = build(spec)
    state, own = model.state_dict(), changed.state_dict()
    changed.load_state_dict(own | {key: value for key, value in state.items() if value.shape == own[key].shape})
    return changed


def first_weights(model: VisionModel, config: Config, train: Dataset) -> tuple[Record, Start]:
    """Load what ``weights=`` says into `model`, and say so. What the user says of preprocessing goes before the weights'."""
    chosen = {key: value for key, value in (config.get("preprocess") or {}).items() if value is not None}
    resolved = resolve(model.spec, config.weights, cached_only=config.weights != "auto")
    if resolved is None:
        if is_first() and config.weights not in (None, "none"):
            Console(stderr=True).print(
                Panel(random_warning(model.spec), title="warning: random weights", style="yellow")
            )
        model.spec = model.spec.replace(preprocess=replace(model.preprocess, **chosen))
        return {"source": None}, Start()
    report = load_weights(
        model,
        resolved.path if resolved.row is None else resolved.row.name,
        strict=config.strict,
        trust=config.trust,
        conventions=config.conventions,
        images=training_images(train, model.preprocess.size, seed=config.seed),
        preprocess=chosen,
    )
    if is_first():
        print(report)
    record = {"source": report.source, "sha256": resolved.sha256, "scope": report.scope, "report": str(report)}
    return record, start_of(model, report)


MOST, LEAST = 128, 32
"""Number of images, by the size of the canvas: 128 of 320 x 320 pixels agree with evaluation as well as 200 do."""
PIXELS = 128 * 320 * 320


def training_images(train: Dataset, size: tuple[int, int], *, seed: int) -> Callable[[], Iterator[np.ndarray]]:
    """A fixed sample of the set, drawn by `seed`, as stored: no augmentation.

    Args:
        size: (height, width) of the model's canvas.

    Returns:
        A function that reads the images, (h, w, 3) uint8 RGB, one after the other. Those that can't be read are left out:
        the checks before the first step name them.
    """
    count = min(len(train), max(LEAST, min(MOST, PIXELS // (size[0] * size[1]))))
    chosen = np.sort(np.random.default_rng(seed).choice(len(train), count, replace=False))

    def images() -> Iterator[np.ndarray]:
        for index in chosen:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = train.read_image(train.records[int(index)], on_error="warn")
            except DataError:
                continue
            yield image

    return images


def check_teacher(config: Config) -> None:
    """Refuse a teacher that is not there, and settings of one where there is none.

    Raises:
        UserError: one line.
    """
    settings = distillation_settings(config)
    if config.teacher is None:
        for name, usual in asdict(DistillationSettings()).items():
            if (value := getattr(settings, name)) != usual:
                raise UserError(f"distillation.{name}={value:g} has no effect without a teacher: give teacher=PATH too")
        return
    if is_exported(config.teacher):
        raise UserError(
            f"teacher={config.teacher}: an exported file only predicts; give the run or checkpoint it came from"
        )
    if Path(config.teacher).expanduser().exists():
        return
    check_name(config.teacher, key="teacher")
    row = weight_names.find(config.teacher)
    if row is None or row.cached() is None:
        fix = "" if row is None else f", or fetch them once: `effdet predict model={config.teacher} weights=auto …`"
        raise UserError(f"teacher={config.teacher}: its weights are not on this disk; give the path of a file{fix}")


def check_other_run(config: Config, run_dir: Path) -> None:
    """Refuse a teacher that is the run which learns from it.

    Raises:
        UserError: one line.
    """
    if config.teacher is None:
        return
    teacher, own = Path(config.teacher).expanduser().resolve(), run_dir.expanduser().resolve()
    if teacher.exists() and own in (teacher, *teacher.parents):
        raise UserError(f"teacher={config.teacher}: is the run itself (run_dir={run_dir}); name another run or file")


def distillation_settings(config: Config) -> DistillationSettings:
    """The section ``distillation``; a configuration that is older than it has the defaults."""
    return DistillationSettings(**(config.get("distillation") or {}))


def distilled(config: Config, model: VisionModel) -> Distillation | None:
    """The loss of the teacher that `config` names for `model`, if it names one.

    Raises:
        UserError: it can't be read, or `model` can't learn from it.
    """
    if config.get("teacher") is None:
        return None
    row = None if Path(config.teacher).expanduser().exists() else weight_names.find(config.teacher)
    teacher = load(config.teacher if row is None else row.name, trust=config.trust)
    return Distillation(
        model, teacher, name=str(config.teacher), settings=distillation_settings(config), seed=config.seed
    )


def schedule(config: Config, model: VisionModel) -> list[Callback]:
    """Callbacks for ``freeze_epochs`` and ``progressive``; none where both are off."""
    found: list[Callback] = []
    if config.freeze_epochs:
        found.append(FreezeAllButHeads(config.freeze_epochs))
    growth, epochs = progression(config), planned_epochs(config)
    for name, head in model.heads.items():
        if growth.stages > 1 and isinstance(head, ClassificationHead):
            rate = partial(_dropout, growth, epochs, head.dropout.p)
            found.append(DropoutSchedule(name, rate))
    return found


def _dropout(growth: Progression, epochs: int | None, final: float, epoch: int) -> float:
    return growth.dropout_at(final, growth.stage(epoch, epochs))


def schedule_facts(config: Config) -> dict[str, Any]:
    """What of it changes the steps of a run, for its resume."""
    facts: dict[str, Any] = {}
    if config.freeze_epochs:
        facts["freeze_epochs"] = config.freeze_epochs
    if config.progressive.stages > 1:
        facts["progressive"] = {**config.get("progressive"), "epochs": planned_epochs(config)}
    return facts


ROUNDING = 1e-4
"""Differences below are not worth a warning."""


def best_of(result: FitResult, path: str | Path) -> str:
    """Such as ``best: 0.6430 in checkpoints/best.ckpt``, and what that file is where nothing could be measured."""
    if result.best_score is None:
        return f"best: not known, since nothing in val measures {result.monitor}; the newest weights are in {path}"
    return f"best: {result.best_score:.4f} in {path}"


def from_start_to_best(result: FitResult) -> str | None:
    """Such as ``AP: 0.6000 at the start -> 0.6430 at best``; None where the start was not evaluated."""
    if result.start_score is None or result.best_score is None:
        return None
    return f"{result.monitor}: {result.start_score:.4f} at the start -> {result.best_score:.4f} at best"


def made_worse(result: FitResult, settings: FitSettings, weights: str | Path | None) -> str | None:
    """A warning where the best of the run is worse than the weights that it started from, and what to do."""
    if result.start_score is None or result.best_score is None:
        return None
    gained = result.best_score - result.start_score
    if (settings.monitor_mode or monitor_mode([str(result.monitor)])) == "min":
        gained = -gained
    if gained >= -ROUNDING:
        return None
    return (
        f"training made the model worse: {result.monitor} {result.start_score:.4f} at the start, {result.best_score:.4f} at "
        f"best. The starting weights ({weights}) are the better model. Train again with a lower optimizer.lr (here "
        f"{settings.optimizer.lr:g} with {settings.optimizer.name}), and leave to recipe=auto what you set besides"
    )


ORACLE_IMAGES = 200
"""As many images of val are scored against themselves; a fault in the annotations is rarely a single one."""
PREFLIGHT_BATCH = 4
PREFLIGHT_BATCHES = 8
"""So many batches are looked through for one that every head can learn from."""
DETECTED_IMAGES = 16
"""On this many images of val, spread over those with boxes of known classes, loaded weights must detect something."""


def check_flight(
    model: VisionModel,
    train_batches: LoaderFactory,
    dataset: EvalSet,
    *,
    start: Start,
    frozen: Sequence[str] = (),
    device: str,
) -> None:
    """The pre-flight: seconds, before hours.

    Args:
        start: what the weights brought.
        frozen: as ``freeze=`` names it.

    Raises:
        PreflightError: training would not work, and why.
    """

    def oracle() -> dict[str, float]:
        source = dataset.source
        kits = {name: kit for name, kit in evaluated_heads(model, source).items() if kit.has("truth")}
        kits = {name: kit for name, kit in kits.items() if kit.has_truth(source)}
        found = {name: kit.evaluator(source, same_classes(kit.classes(source))) for name, kit in kits.items()}
        made: dict[str, Evaluator] = {name: evaluator for name, evaluator in found.items() if evaluator is not None}
        if not made:
            return {}
        result = evaluate(
            truth_predict_fn({name: kits[name] for name in made}),
            dataset,
            evaluators=made,
            batch_size=EVAL_BATCH,
            max_images=min(len(dataset), ORACLE_IMAGES),
            progress=False,
        )
        # Where an image holds more than COCO's 100 objects of a class, AP with a cap that fits stands beside COCO's.
        beyond = {name.partition("@")[0]: value for name, value in result.metrics.items() if name.startswith("AP@")}
        scores = {metric: float(beyond.get(metric, result.metrics[metric])) for metric in chief_metrics(kits)}
        return {metric: score for metric, score in scores.items() if score >= 0}  # -1 and NaN: nothing to score

    batch = _useful_batch(train_batches, model)
    found = preflight(
        model,
        batch,
        start=start,
        frozen=frozen,
        oracle=oracle,
        detected=lambda: detected(model, dataset, start, device=device),
        device=torch.device(device),
    )
    print(found)


def detected(model: VisionModel, dataset: EvalSet, start: Start, *, device: str) -> Detected | None:
    """What the first head that finds boxes finds before training of the classes that its weights brought, on a few images
    of `dataset` that have boxes of them.

    None where there are none.
    """
    source = dataset.source
    kits = [kit for kit in evaluated_heads(model, source).values() if kit.label == DetectionKit.label]
    kit = next((kit for kit in kits if start.detected(kit.name)), None)
    if kit is None:
        return None
    rows, joined = start.detected(kit.name), kit.join(model.classes[kit.name], source)
    classes = {joined.to_data[row] for row in rows} - {-1}
    table = source.records
    known = np.isin(table.labels, list(classes)) & ~table.crowd
    images = np.unique(np.searchsorted(table.starts, np.flatnonzero(known), side="right") - 1)
    if not len(images):
        return None
    chosen = source.subset(images[np.unique(np.linspace(0, len(images) - 1, DETECTED_IMAGES).round().astype(int))])
    evaluator = kit.evaluator(chosen, joined)
    if evaluator is None:
        return None
    result = evaluate(
        ModelPredictFn(model, device=device),
        EvalSet(chosen, dataset.preprocess),
        evaluators={kit.name: evaluator},
        batch_size=EVAL_BATCH,
        progress=False,
    )
    per_class = result.metrics["per_class"]
    own = [per_class[str(source.classes.names[index])] for index in sorted(classes)]
    measured = [row for row in own if row["AP"] >= 0]
    if not measured:
        return None
    boxes = sum(row["boxes"] for row in measured)
    return Detected(sum(row["AP"] for row in measured) / len(measured), len(chosen), boxes)


def _useful_batch(train_batches: LoaderFactory, model: VisionModel) -> Batch:
    """The first batch of a few that is labelled for every head that can say so; the very first where none is."""
    loader = train_batches(batch_size=PREFLIGHT_BATCH, rank=0, world=1)
    heads = [head for head in model.heads.values() if hasattr(head, "labelled")]
    first = None
    for number, batch in enumerate(loader):
        if all(bool(head.labelled(batch.targets)) for head in heads):  # type: ignore[operator]
            return batch
        first = first or batch
        if number + 1 >= PREFLIGHT_BATCHES:
            break
    assert first is not None
    return first
