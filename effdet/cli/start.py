"""What a training starts from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel

from backbones.spec import ExternalSpec
from effdet.cli.assemble import (
    class_tables,
    completed,
    model_spec,
    with_postprocess,
)
from effdet.cli.calibrate import training_images
from effdet.cli.config import Config
from effdet.cli.ranks import is_first
from effdet.data import Source
from effdet.model import ModelSpec, VisionModel, build
from effdet.model.external import survey
from effdet.plugins import check_trust, targets
from effdet.training import read_checkpoint
from effdet.training.starting import Start, start_of
from effdet.weights import load_weights, resolve
from effdet.weights.resolving import random_warning

Record = dict[str, Any]
"""What checkpoints remember of the first weights: where from, sha256, the load's report."""


def first_model(config: Config, train: Source, checkpoint: Path | None) -> tuple[VisionModel, Record, Start]:
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
    spec = completed(model_spec(config, classes=class_tables(train, config)), train)
    if isinstance(spec.backbone, ExternalSpec) and spec.neck is not None and is_first():
        print(survey(spec.backbone))
    model = build(spec)
    return model, *first_weights(model, config, train)


def first_weights(model: VisionModel, config: Config, train: Source) -> tuple[Record, Start]:
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
