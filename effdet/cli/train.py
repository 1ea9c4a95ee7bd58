"""``effdet train``: data, model, weights, training, and the table at its end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import nn

from effdet.cli.config import Config
from effdet.cli.data import (
    EVAL_BATCH,
    decoded,
    evaluators,
    following,
    loader_factory,
    open_splits,
    repeats,
    worker_count,
    write_report,
)
from effdet.cli.models import (
    check_targets,
    is_generated,
    model_spec,
    requested_labels,
    torch_device,
    with_monitor,
)
from effdet.cli.overrides import Overrides
from effdet.cli.recipe import block, facts_of, provisional, resumed, with_own_size, with_recipe
from effdet.cli.resume import changed, resolve_run_dir, saved_config
from effdet.cli.run import (
    RunDir,
    RunInfo,
    RunResult,
    broadcast,
    clear,
    is_first,
    keep_freed_memory,
    make,
    receive,
    run_command,
    write_config,
)
from effdet.cli.training import (
    best_of,
    check_flight,
    check_other_run,
    check_teacher,
    distilled,
    first_model,
    from_start_to_best,
    made_worse,
    schedule,
    schedule_facts,
    with_options,
)
from effdet.cli.unlabelled import check_unlabelled, drawings, open_unlabelled_set, unlabelled_loss
from effdet.data import Dataset, EvalSet
from effdet.data.preflight import unseen_classes
from effdet.evaluation import EvaluationResult, ModelPredictFn, evaluate, print_metrics, write_results
from effdet.model import VisionModel
from effdet.plurals import counted
from effdet.report import Gallery
from effdet.training import FitResult, FitSettings, fit, newest_valid, read_checkpoint, seed_all
from effdet.training.ending import Ended, ended
from effdet.training.fitting import check_trainer
from effdet.weights import load
from effdet.weights.names import require_weights
from heads.structures import UserError

if TYPE_CHECKING:
    from effdet.cli.settings import Backbone, Data, EvaluationKeys, FromRecipe, Heads, ModelPath, Scaled, Task, Trainer
    from effdet.data.augment import AugmentSpec
    from effdet.data.progressive import Progression
    from effdet.necks.pyramid import NeckSpec
    from effdet.preprocess import Preprocess
    from effdet.training.settings import (
        CheckpointSettings,
        DistillationSettings,
        EarlyStoppingSettings,
        NonFiniteSettings,
        OptimizerSettings,
        PseudoLabelSettings,
    )


@dataclass(frozen=True, kw_only=True)
class Train:
    """Keys of `effdet train`."""

    model: str | None
    """Name of a published model (tf_efficientdet_d0); it sets backbone, neck, head and size together, and `effdet
    info` lists them."""
    phi: Annotated[float, "-4..6"] | None
    """Continuous compound scaling of backbone, neck, head and size together; 0 is D0, below 0 is smaller and faster."""
    image_size: int | tuple[int, int] | None
    """Input in pixels, a side or [height, width]; null takes the canvas of streets, else the model's own size."""
    weights: Literal["auto-cached", "auto", "none"] | Path | None
    """Initial weights. auto-cached takes the best weights already on this disk; where there are none, streets starts from
    random weights and other data are refused. auto may download; none (or null) is random; else a name or a file."""
    conventions: str | None
    """What a weight file does not state (padding, BatchNorm, pixel statistics), as the name of the model that it was made
    for; required only where it matters."""
    strict: bool
    """false loads weights that fit only in part, and reports what was left over."""
    trust: bool
    """true reads weight files that hold pickled code, and imports the ``_target_`` classes that a file names; such a file
    can run any code on this machine."""
    teacher: Path | None
    """A larger model of the same task to learn from beside the labels: a run folder, a checkpoint, a model file or the name of
    a published model that is on this disk. Only a loss: the trained model holds nothing of it."""
    run_dir: Path | None
    """Folder of the run; null creates runs/TASK-DATA-BACKBONE-N. A folder that holds a run is refused without resume or
    overwrite."""
    recipe: Literal["auto", "paper"]
    """What every auto below means: auto chooses by the task, the weights, the number of images and the budget, and prints
    what it chose; paper takes the published values, which are for hundreds of epochs."""
    resume: Literal["auto"] | Path | None
    """Resume the run in run_dir (auto), or the run or checkpoint at PATH, with its configuration."""
    overwrite: bool
    """true deletes the run that run_dir holds."""
    batch_size: Annotated[int, "1.."] | Literal["auto"]
    """Images per step on each device; auto takes as many as fit (on a CPU, as many as keep it busy), up to batch_limit."""
    batch_limit: Annotated[int, "1.."] | Literal["auto"] | None
    """Largest batch of batch_size=auto; auto leaves it to the recipe, null sets no limit."""
    workers: Annotated[int, "0.."] | None
    """Loader processes on each device; null derives it from the CPU cores. The result does not depend on it."""
    cpu_processes: Annotated[int, "1.."]
    """On a CPU, train in this many processes, each with its share of the cores and its own batch; gradients are averaged,
    so two cores do twice the work of one. The result depends on it."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """Where to compute; auto takes the best there is."""
    seed: Annotated[int, "0.."]
    """Seed of every random choice: same seed, same run."""
    max_images: Annotated[int, "1.."] | None
    """Only the first N images of each split, for a quick try."""
    ema: Annotated[float, "0..0.99999"] | Literal["auto"] | bool | None
    """Decay of the moving average of the weights, which is what is evaluated and saved; auto leaves it to the recipe, false
    turns it off."""
    ema_ramp: Literal["auto"] | bool
    """true lets the average follow faster in the first steps, as far as (1 + n) / (10 + n) of step n, so that random weights
    are soon forgotten; false leaves good starting weights slowly. auto leaves it to the recipe."""
    norm_momentum: Annotated[float, "0..1"] | None
    """Share of the newest batch in BatchNorm's running statistics; null is the model's own, or 10 / batches of an
    epoch (up to .1) where that is faster: short runs need it."""
    freeze_epochs: Annotated[int, "0.."]
    """The first N epochs train only the heads; the rest is frozen as with freeze=[backbone,neck] and trains afterwards,
    so that a new head does not damage pretrained weights."""
    freeze: str | tuple[str, ...] | None
    """Parts that are not trained and compute the same in every step (statistics kept, no stochastic depth, no dropout):
    backbone, neck, a head's name, bn (every BatchNorm) or a path such as backbone.stem. auto leaves it to the recipe."""
    grad_checkpointing: bool
    """true computes activations twice instead of storing them: about a third slower, far less memory."""
    compile: bool
    """true runs the model through torch.compile: minutes of compilation first, then faster steps, mainly on a GPU."""
    channels_last: bool
    """false stores images with channels first; slower on most devices."""
    sync_bn: bool
    """true shares BatchNorm statistics between GPUs; worth it below about 8 images a device."""
    preflight: bool
    """false skips the checks before training, which take seconds: the annotations score as perfect predictions, loaded
    weights detect and compute the same in training mode, the first loss is the prior's, a step lowers it, gradients reach
    all parameters."""
    logger: Literal["tensorboard", "wandb", "mlflow"] | tuple[str, ...] | None
    """Besides metrics.csv, which is always written; wandb and mlflow need effdet-lightning[log]."""
    progress: bool
    """false draws no progress bar."""
    score_threshold: Annotated[float, "0..1"] | None
    """Detections with lower scores are dropped; null is .001, as for COCO results."""
    nms_iou: Annotated[float, "0..1"] | None
    """NMS: of two boxes of a class with a higher IoU, only the better is kept; null is .5."""
    max_detections: Annotated[int, "1.."] | None
    """Detections per image; null is 100, as in COCO."""
    report: bool
    """false writes no report.html (curves, intervals, mistakes, images) at the end, which takes seconds."""
    architecture: ModelPath
    preprocess: Scaled[Preprocess]
    progressive: Progression
    distillation: DistillationSettings
    pseudo_labels: PseudoLabelSettings
    early_stopping: EarlyStoppingSettings
    checkpoint: CheckpointSettings
    nonfinite: NonFiniteSettings
    evaluation: EvaluationKeys
    trainer: Trainer
    data: Data
    backbone: Scaled[Backbone]
    neck: Scaled[NeckSpec]
    head: Heads
    optimizer: FromRecipe[OptimizerSettings]
    augment: FromRecipe[AugmentSpec]
    task: Task


class RunEvaluator:
    """What validation runs: the one evaluation loop on the val split. Keeps the last result."""

    def __init__(
        self, config: Config, model: VisionModel, val: Dataset, *, workers: int, settings: FitSettings
    ) -> None:
        self.dataset, self.workers, self.settings = EvalSet(val, model.preprocess), workers, settings
        self.evaluators = evaluators(model, self.dataset, backend=config.evaluation.backend)
        self.max_images = evaluated_images(settings.trainer.get("limit_val_batches"), len(val))
        self.result: EvaluationResult | None = None
        if self.max_images is not None and is_first():
            max_images = settings.trainer["limit_val_batches"]
            print(
                f"trainer.limit_val_batches={max_images}: evaluates on the first {self.max_images} of {len(val)} images"
            )

    def __call__(self, model: nn.Module) -> Mapping[str, Any]:
        device = next(model.parameters()).device
        with torch.autocast(device.type, enabled=False):  # in float32 as `evaluate` measures, whatever the steps run in
            self.result = evaluate(
                ModelPredictFn(model, device=device, channels_last=self.settings.channels_last),
                self.dataset,
                evaluators=self.evaluators,
                batch_size=EVAL_BATCH,
                workers=self.workers,
                max_images=self.max_images,
                progress=self.settings.progress,
            )
        return self.result.metrics


def run_train(config: Config, overrides: Overrides) -> RunResult:
    """Train as `config` says; ``RunResult.metrics`` are those of the last evaluation."""
    config, device = with_monitor(config), torch_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    early = fit_settings(provisional(config), Path(), device)  # here, since it may complain
    check_trainer(early)
    check_targets(config)
    check_teacher(config)
    check_unlabelled(config, early)
    devices = early.trainer["devices"]  # a number, a list, or auto
    processes = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) else 1
    if processes > 1 and not overrides.from_shell:
        return run_command("train", overrides)  # Lightning starts the others by this process's own command line
    directory = resolve_run_dir(config) if is_first() else None
    if directory is not None:
        check_other_run(config, directory.path)
    checkpoint = None if directory is None else _checkpoint(directory)
    if directory is not None and checkpoint is not None:
        if (end := ended(read_checkpoint(checkpoint, mmap=True), early)) is not None:
            return _results(config, directory.path.absolute(), checkpoint, end, early)
    if config.weights == "auto-cached" and checkpoint is None and not is_generated(config) and is_first():
        require_weights(model_spec(config, num_classes=1))  # weights are published for a network, whatever its classes
    if directory is not None and directory.resume_from is not None:
        for line in changed(config, saved_config(directory.resume_from)):
            print(f"from here on {line}")
    train, val = open_splits(config, "train", "val", requested=requested_labels(config))
    _describe(train, val)
    val_fingerprint = val.fingerprint()  # of what the set says, whatever of it can be read
    val = decoded(config, val, train=train if is_first() and checkpoint is None else None)
    config = following(config, val)
    unlabelled = open_unlabelled_set(config, val=val if is_first() and checkpoint is None else None)
    seed_all(config.seed)
    started = RunInfo(directory.path, checkpoint) if directory is not None else receive()
    if started is None:
        raise UserError("non-zero rank without a run directory; start them by trainer.devices or torchrun")
    if started.finished:
        return RunResult(started.run_dir, {})
    if started.checkpoint is None:
        config = with_own_size(config, train)
    model, weights, start = first_model(config, train, started.checkpoint)
    if started.checkpoint is None:
        facts = facts_of(config, train, model, start, processes=processes)
        config, chosen = with_recipe(config, facts)
        model = with_options(model, config, train, chosen)
        if chosen and is_first():
            print(block(config.recipe, facts, chosen))
    else:
        config = resumed(config)
    if is_first() and "boxes" in train.labelled and (rare := repeats(config, train)).factors is not None and rare.line:
        print(rare.line)
    settings = fit_settings(config, Path(), device)
    distillation = distilled(config, model)
    workers = worker_count(config.workers, cuda=device == "cuda")
    batches = loader_factory(config, train, model, workers=workers, cuda=device == "cuda")
    pseudo = None if unlabelled is None else unlabelled_loss(config, unlabelled, model, workers, cuda=device == "cuda")
    evaluator = RunEvaluator(config, model, val, workers=workers, settings=settings)
    dataset = evaluator.dataset

    if started.checkpoint is None and config.preflight and is_first():
        once = loader_factory(config, train, model, workers=0, cuda=False)
        check_flight(model, once, dataset, start=start, frozen=settings.freeze, device=device)
    if directory is not None:
        started = RunInfo(make(directory, overwrite=config.overwrite), started.checkpoint)
        broadcast(started)  # other processes are started with it
        size = "×".join(map(str, model.preprocess.size))
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        print(f"model: {model.spec.name}, {millions:.1f} million parameters, input {size}, on {device}")
        print(f"run: {started.run_dir}")
        for loss in (distillation, pseudo):
            if loss is not None:
                print(loss)
    first = directory is not None
    try:
        result = fit(
            model,
            batches,
            settings=replace(settings, run_dir=started.run_dir),
            evaluate=evaluator if settings.trainer.get("limit_val_batches") != 0 else None,
            resume=started.checkpoint,
            data={
                "train": train.fingerprint(),
                "val": val_fingerprint,
                "augment": config.get("augment"),
                **schedule_facts(config),
                **({} if distillation is None else {"teacher": distillation.facts()}),
                **({} if pseudo is None else {"unlabelled": pseudo.facts()}),
            },
            record={"config": config.to_yaml(), "weights": weights},
            draw_predictions=drawings(dataset, unlabelled, model),
            callbacks=schedule(config, model),
            extra=[loss for loss in (distillation, pseudo) if loss is not None],
            at_start=start.detects if config.evaluation.at_start == "auto" else config.evaluation.at_start,
            ready=(lambda: write_config(started.run_dir, config.to_yaml())) if first else None,
        )
    finally:
        clear()
    metrics = result.metrics if evaluator.result is None else evaluator.result.metrics
    if is_first():
        _finish(config, started.run_dir, result, evaluator, model, (train, val), weights.get("source"))
        print(started.run_dir)
    return RunResult(started.run_dir, metrics)


def fit_settings(config: Config, run_dir: Path, device: str) -> FitSettings:
    """The keys of the configuration that belong to the training package."""
    values = config.to_dict()
    trainer = values["trainer"]
    if config.device != "auto":
        if trainer["accelerator"] not in ("auto", config.device):
            raise UserError(
                f"device={config.device} trainer.accelerator={trainer['accelerator']}: contradict each other; give one"
            )
        trainer["accelerator"] = {"cuda": "gpu"}.get(device, device)
    if device == "cpu" and trainer["devices"] == "auto":
        trainer["devices"] = config.cpu_processes
    if config.evaluation.every is not None:
        trainer["check_val_every_n_epoch"] = config.evaluation.every
    trainer["sync_batchnorm"] = trainer["sync_batchnorm"] or config.sync_bn
    values["monitor"] = config.task.monitor
    return FitSettings.of(values, run_dir)


def evaluated_images(max_images: float | None, images: int) -> int | None:
    """Images of `images` that ``trainer.limit_val_batches=limit`` evaluates on; None for all of them.

    A whole number counts batches of `EVAL_BATCH` images, a fraction is a share of the images; one image at least.
    """
    if max_images in (None, 0) or isinstance(max_images, float) and max_images >= 1:
        return None
    found = max_images * EVAL_BATCH if isinstance(max_images, int) else max(round(max_images * images), 1)
    return found if found < images else None


def _describe(train: Dataset, val: Dataset) -> None:
    if not is_first():
        return
    print(f"data: {train.name}, {len(train):,} training images with {_labels(train)}, {len(val):,} to evaluate on")
    for source in (train, val):
        for line in source.warnings:
            print(f"warning: {source.split}: {line}")
    for line in unseen_classes(train, val):
        print(f"warning: {line}")


def _labels(source: Dataset) -> str:
    """What the set labels, in numbers."""
    parts = []
    if "boxes" in source.labelled:
        parts.append(f"{counted(len(source.records.labels), 'box', ',')} of {counted(len(source.classes), 'class')}")
    if "semantic" in source.labelled and source.semantic_classes is not None:
        pixels = source.records.class_pixels
        masks = len(source) if pixels is None else int(pixels.any(axis=1).sum())
        parts.append(f"{counted(masks, 'mask', ',')} of {counted(len(source.semantic_classes), 'class')}")
    return " and ".join(parts) or f"{counted(len(source.classes), 'class')}"


def _checkpoint(directory: RunDir) -> Path | None:
    source = directory.resume_from
    if source is None:
        return None
    if source.is_file():
        return source
    found = newest_valid(source)
    if found is None:
        print(f"{source} has no checkpoint yet: it starts at its beginning")
    return found


def _results(config: Config, run_dir: Path, checkpoint: Path, end: Ended, settings: FitSettings) -> RunResult:
    """Says that the run is over: nothing is trained. Where it was stopped before its results were written, its last weights
    are evaluated again."""
    broadcast(RunInfo(run_dir, checkpoint, finished=True))
    clear()
    print(
        f"{end.reason}: this run is over after {counted(end.epochs, 'epoch')}, {counted(end.steps, 'step')}: nothing to do"
    )
    print(f"to go on, raise {end.advice}; its weights start a new run by weights={checkpoint}")
    path = run_dir / "metrics.json"
    if not path.is_file() and settings.trainer.get("limit_val_batches") != 0:
        print("it was stopped before its results were written: evaluating its last weights")
        train, val = open_splits(config, "train", "val", requested=requested_labels(config))
        val = decoded(config, val)
        config = following(config, val)
        device = torch_device(config.device)
        model = load(checkpoint, device=device, trust=config.trust)
        workers = worker_count(config.workers, cuda=device == "cuda")
        evaluator = RunEvaluator(config, model, val, workers=workers, settings=settings)
        evaluator(model)
        assert evaluator.result is not None
        _write_page(config, run_dir, evaluator, evaluator.result, model, (train, val), checkpoint)
        write_results(evaluator.result, run_dir)
        print_metrics(evaluator.result.metrics, title=f"{config.data.name} val")
    print(run_dir)
    return RunResult(run_dir, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else end.metrics)


def _finish(
    config: Config,
    run_dir: Path,
    fitted: FitResult,
    evaluator: RunEvaluator,
    model: VisionModel,
    splits: Sequence[Dataset],
    weights: str | None,
) -> None:
    """The last lines of a training, and its page. What the page says of the model is read from the file that was evaluated
    last."""
    last, settings = evaluator.result, evaluator.settings
    if last is not None:
        write_results(last, run_dir)
        print_metrics(last.metrics, title=f"{config.data.name} val, epoch {fitted.epochs}")
    minutes = f"{fitted.seconds / 60:.1f} minutes"
    amount = f"{counted(fitted.epochs, 'epoch')}, {counted(fitted.steps, 'step')}"
    print(f"{fitted.reason}: {amount} in {minutes}")
    if fitted.best_path is not None:
        print(best_of(fitted, fitted.best_path))
    gained, worse = from_start_to_best(fitted), made_worse(fitted, settings, weights)
    if gained is not None:
        print(gained)
    if worse is not None:
        print(f"warning: {worse}", file=sys.stderr)
    if last is None:
        return
    final = model if fitted.last_path is None else load(fitted.last_path)
    best = None if fitted.best_path is None else best_of(fitted, fitted.best_path.name)
    summary = [f"{fitted.reason}: {amount}.", *(line for line in (best, gained, worse) if line)]
    times = {"training": f"{minutes}, {amount}"}
    _write_page(config, run_dir, evaluator, last, final, splits, fitted.last_path, times=times, summary=summary)


def _write_page(
    config: Config,
    run_dir: Path,
    evaluator: RunEvaluator,
    result: EvaluationResult,
    model: VisionModel,
    splits: Sequence[Dataset],
    source: Path | None,
    *,
    times: Mapping[str, str] | None = None,
    summary: Sequence[str] = (),
) -> None:
    """The report of a run: `model` is what was evaluated, `source` its file."""
    predict = partial(ModelPredictFn, model, channels_last=evaluator.settings.channels_last)
    write_report(
        run_dir,
        title=f"{run_dir.name}: {model.spec.name} on {config.data.name}",
        result=result,
        evaluators=evaluator.evaluators,
        gallery=Gallery(evaluator.dataset, predict),
        model=model,
        source=None if source is None else str(source),
        splits=splits,
        config=config.to_yaml(),
        times=times,
        summary=summary,
        page=config.report,
    )
