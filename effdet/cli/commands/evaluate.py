"""``effdet evaluate``: a model against a split, as a table and as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from effdet.cli.assemble import (
    POSTPROCESS,
    evaluators,
    labels_of,
    open_split,
    semantic_inference,
    torch_device,
    worker_count,
)
from effdet.cli.before import decoded_split
from effdet.cli.config import Config, as_size
from effdet.cli.models import open_model
from effdet.cli.outputs import refuse_evaluation, refuse_masks
from effdet.cli.overrides import Overrides
from effdet.cli.report import write_report
from effdet.cli.run import CHECKPOINTS, RunResult, holds_run, keep_freed_memory
from effdet.data import EvalSet
from effdet.evaluation import DetectionEvaluator, SemanticEvaluator, evaluate, print_metrics, write_results
from effdet.inference.runtime_model import RuntimeModel, predict_function
from effdet.report import Gallery


def run(config: Config, overrides: Overrides) -> RunResult:
    """Measure, print, write."""
    directory = output_dir(config)
    refuse_evaluation(directory, key="out" if config.out is None else f"out={config.out}")
    model: Any = open_model(config)  # first: it is read in a second, while a set may have to be drawn or parsed
    device = "cpu" if isinstance(model, RuntimeModel) and config.device == "auto" else torch_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    source = open_split(config, config.split, requested=labels_of(model))
    for line in source.warnings:
        print(f"warning: {line}")
    source = decoded_split(config, source)
    if config.max_images is not None:
        print(f"max_images={config.max_images}: measured on {len(source)} images alone; max_images=null takes all")
    size = as_size(config.image_size)
    preprocess = model.preprocess if size is None else model.preprocess.fitted(size)
    dataset = EvalSet(source, preprocess)
    maps = directory / "class_maps" if config.class_maps else None
    if maps is not None:
        refuse_masks(maps, source, key=f"out={directory}")
    by_head = evaluators(model, dataset, backend=config.evaluation.backend, class_maps=maps)
    for evaluator in by_head.values():
        if isinstance(evaluator, (DetectionEvaluator, SemanticEvaluator)) and not evaluator.classes.exact:
            print(evaluator.classes)
    settings = {key: config.get(key) for key in POSTPROCESS if config.get(key) is not None}
    predict = predict_function(
        model,
        device=device,
        precision=config.precision,
        postprocess=settings,
        semantic=semantic_inference(config),
    )
    result = evaluate(
        predict,
        dataset,
        evaluators=by_head,
        batch_size=config.batch_size,
        workers=worker_count(config.workers, cuda=device == "cuda"),
    )
    print_metrics(result.metrics, title=f"{config.model} on {source.name} {config.split}, {result.images} images")
    write_results(result, directory)
    write_report(
        directory,
        title=f"{_short(config.model)} on {source.name} {config.split}",
        result=result,
        evaluators=by_head,
        gallery=Gallery(dataset, lambda: predict),
        model=model,
        source=config.model if config.weights is None else config.weights,
        splits=[source],
        config=config.to_yaml(),
        page=config.report,
    )
    print(directory)
    return RunResult(directory, result.metrics)


def output_dir(config: Config) -> Path:
    """``out``; else ``evaluation/SPLIT`` in the run of the model, else ``evaluations/MODEL-DATA-SPLIT``."""
    if config.out is not None:
        return Path(config.out)
    model = Path(config.model)
    for directory in (model, model.parent.parent if model.parent.name == CHECKPOINTS else model):
        if directory.is_dir() and holds_run(directory):
            return directory / "evaluation" / config.split
    return Path("evaluations") / f"{model.stem}-{config.data.name}-{config.split}"


def _short(model: str) -> str:
    """A model's name; of a path its last part, and of a checkpoint the run before it."""
    path = Path(model)
    return f"{path.parent.parent.name}, {path.name}" if path.parent.name == CHECKPOINTS else path.name
