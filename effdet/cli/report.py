"""What a training or an evaluation leaves beside its metrics: ``statistics.npz``, and the page ``report.html``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from effdet.data import Dataset
from effdet.evaluation import EvaluationResult, Evaluator
from effdet.inference.fusion import fusion_shares
from effdet.inference.runtime_model import RuntimeModel
from effdet.model import VisionModel
from effdet.report import DataFacts, Facts, Gallery, measured, report_page
from effdet.report.statistics.files import Recorded, SplitIdentity, write_statistics
from effdet.tasks import head_reports, kits_of
from effdet.weights.info import environment

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
        page: False writes ``statistics.npz`` alone.

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
        f"{result.images:,} images of {evaluated.name} {evaluated.split}",
        metrics=result.metrics,
        reports=reports,
        intervals=measured(reports),
        facts=facts,
        gallery=gallery,
        curves=directory / "metrics.csv",
        summary=summary,
    )
    return written.write(directory / PAGE)


def tensors_hash(model: torch.nn.Module) -> str:
    """sha256 of the names and values of a model's weights: the same for a checkpoint and for the file it was saved to."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
        "heads": ", ".join(f"{name} ({len(table)} classes)" for name, table in model.classes.items()),
    }


def _data_facts(source: Dataset) -> DataFacts:
    boxes: dict[str, int] = {}
    if "boxes" in source.labelled:
        table = source.records
        counts = np.bincount(table.labels[~table.crowd], minlength=len(source.classes))
        boxes = {str(name): int(count) for name, count in zip(source.classes.names, counts, strict=True)}
    return DataFacts(source.name, source.split, len(source), source.fingerprint(), boxes, list(source.warnings))
