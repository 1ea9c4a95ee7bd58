"""What a training starts from, and whether it can work at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.panel import Panel

from effdet.cli.assemble import (
    EVAL_BATCH,
    class_tables,
    model_spec,
    oracle_evaluators,
    with_class_weights,
    with_postprocess,
)
from effdet.cli.calibrate import training_images
from effdet.cli.config import Config
from effdet.cli.ranks import is_first
from effdet.data import EvalSet, Source
from effdet.evaluation import evaluate, truth_predict_fn
from effdet.model import ModelSpec, VisionModel, build
from effdet.training import read_checkpoint
from effdet.training.loader import LoaderFactory
from effdet.training.preflight import preflight
from effdet.weights import load_weights, resolve
from effdet.weights.resolving import random_warning

Record = dict[str, Any]
"""What checkpoints remember of the first weights: where from, sha256, the load's report."""
ORACLE_PICTURES = 200
"""As many pictures of val are scored against themselves; a fault in the annotations is rarely a single one."""
PREFLIGHT_BATCH = 4


def first_model(config: Config, train: Source, checkpoint: Path | None) -> tuple[VisionModel, Record]:
    """The model to train, on the CPU, and what it starts from.

    A run that goes on builds the model that its checkpoint describes: the weights that it began with may have brought
    conventions of their own.
    """
    if checkpoint is not None:
        saved = read_checkpoint(checkpoint, mmap=True)
        spec = with_postprocess(ModelSpec.from_dict(json.loads(saved["spec"])), config)
        return build(spec), saved.get("weights") or {"source": None}
    model = build(with_class_weights(model_spec(config, classes=class_tables(train, config.task.name)), train))
    return model, first_weights(model, config, train)


def first_weights(model: VisionModel, config: Config, train: Source) -> Record:
    """Load what ``weights=`` says into `model`, and say so. What the user says of preprocessing goes before the weights'."""
    chosen = {key: value for key, value in (config.get("preprocess") or {}).items() if value is not None}
    resolved = resolve(model.spec, config.weights, cached_only=config.weights != "auto")
    if resolved is None:
        if is_first() and config.weights not in (None, "none"):
            Console(stderr=True).print(
                Panel(random_warning(model.spec), title="warning: random weights", style="yellow")
            )
        model.spec = model.spec.replace(preprocess=replace(model.preprocess, **chosen))
        return {"source": None}
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
    return {"source": report.source, "sha256": resolved.sha256, "scope": report.scope, "report": str(report)}


def check_flight(
    model: VisionModel, train_batches: LoaderFactory, dataset: EvalSet, *, fresh_head: bool, device: str
) -> None:
    """The pre-flight: seconds, before hours.

    Raises:
        PreflightError: training would not work, and why.
    """

    def oracle() -> dict[str, float]:
        source = dataset.source
        judges = oracle_evaluators(model, source)
        if len(source.records.labels) == 0:
            judges.pop("detection", None)
        if not judges:
            return {}
        result = evaluate(
            truth_predict_fn,
            dataset,
            evaluators={head: judge for head, (_, judge) in judges.items()},
            batch_size=EVAL_BATCH,
            limit=min(len(dataset), ORACLE_PICTURES),
            progress=False,
        )
        scores = {metric: float(result.metrics[metric]) for metric, _ in judges.values()}
        return {metric: score for metric, score in scores.items() if score >= 0}  # -1 and NaN: nothing to score

    batch = next(iter(train_batches(batch_size=PREFLIGHT_BATCH, rank=0, world=1)))
    print(preflight(model, batch, fresh_head=fresh_head, oracle=oracle, device=torch.device(device)))
