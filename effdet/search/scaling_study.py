"""A scaling study: models scaled by the same factors in backbone, neck and heads, trained with several seeds, and compared.

Trainings run in processes of their own. The results are files: JSON, CSV and a chart of the metric over multiply-adds.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backbones.scaling import BackboneSpec, round_filters
from effdet.evaluation.results import write_json
from effdet.files import write_text
from effdet.html import Page, figure, line_chart, section, table
from effdet.model import Architecture, Cost, write_model_file
from effdet.search.coefficients import Coefficients, Factors
from effdet.search.executor import run_jobs
from effdet.search.jobs import Job, JobResult, Run
from effdet.search.pareto import dots

SMALLEST = 32
"""Pixels: the backbone's last stride."""


def scaled(base: Architecture, factors: Factors, *, name: str, size_step: int = 1) -> Architecture:
    """`base` under `factors`, with whole layers, channels in multiples of 8 and whole pixels.

    Layers go to the nearest number. The published networks round them up, which turns a depth of 1.2 into 1.44 times B0's
    layers: a grid under α · β² · γ² ≈ 2 would compare models of unlike cost.

    Args:
        name: of the new architecture and of its backbone.
        size_step: height and width are rounded to a multiple of so many pixels.
    """
    neck, head = base.neck, base.head
    if neck is not None:
        neck = neck.replace(
            channels=round_filters(neck.channels, factors.width), repeats=_nearest(neck.repeats * factors.depth)
        )
    if head is not None:
        head = replace(head, repeats=_nearest(head.repeats * factors.depth) if head.repeats else 0)
    height, width = (_side(side * factors.resolution, size_step) for side in base.image_size)
    return Architecture(
        name=name,
        backbone=_backbone(base.backbone, factors, name=name, size=max(height, width)),
        image_size=(height, width),
        neck=neck,
        head=head,
        made_by={},
    )


def _backbone(base: BackboneSpec, factors: Factors, *, name: str, size: int) -> BackboneSpec:
    stages = tuple(
        replace(
            stage,
            channels=round_filters(stage.channels, factors.width),
            repeats=_nearest(stage.repeats * factors.depth),
        )
        for stage in base.stages
    )
    # The statistics that a backbone expects of its pixels go by its name.
    name = f"lite_{name}" if "lite" in base.name and "lite" not in name else name
    return replace(
        base,
        name=name,
        stages=stages,
        stem_channels=round_filters(base.stem_channels, factors.width),
        head_channels=round_filters(base.head_channels, factors.width),
        image_size=size,
    )


def _nearest(layers: float) -> int:
    return max(1, round(layers))


def _side(pixels: float, step: int) -> int:
    return max(SMALLEST, step * round(pixels / step))


MODELS, RUNS = "models", "runs"
"""Folders of a study: the candidates' model files, and their trainings."""

Overrides = Callable[[Path, Path, int], tuple[str, ...]]
"""(model file, run folder, seed) -> the overrides of a training."""


@dataclass(frozen=True)
class Candidate:
    """A model to train."""

    kind: str
    """What it stands for: ``grid``, ``base``, ``compound``, ``depth``, ``width`` or ``resolution``."""
    architecture: Architecture
    factors: Factors
    cost: Cost
    coefficients: Coefficients | None = None

    @property
    def name(self) -> str:
        return self.architecture.name


@dataclass(frozen=True)
class Outcome:
    """A candidate and how its trainings did, by seed."""

    candidate: Candidate
    scores: dict[int, float] = field(default_factory=dict)
    """The task's main metric."""
    failures: dict[int, str] = field(default_factory=dict)
    """One line each; a failed training has no score."""
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.scores.values()) if self.scores else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (of a sample); None for fewer than two."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None


def train_candidates(
    candidates: Sequence[Candidate],
    run: Run,
    overrides: Overrides,
    *,
    directory: Path,
    seeds: Sequence[int],
    metric: str,
    workers: int = 1,
    engine: str = "local",
    preload: Sequence[str] = (),
    notify: Callable[[str], None] = print,
) -> list[Outcome]:
    """Train every candidate with every seed; what `directory` already holds is not trained again.

    Args:
        run: runs the overrides of one training and gives its metrics; a function of a module.
        metric: the one that is compared.
        workers: trainings at a time.
        notify: reported a line when a training ends.

    Returns:
        In the order of `candidates`.
    """
    outcomes = {candidate.name: Outcome(candidate) for candidate in candidates}
    if len(outcomes) < len(candidates):
        raise ValueError("candidates must have different names")
    jobs, whose = list[Job](), dict[str, tuple[Outcome, int]]()
    for seed in seeds:  # all candidates once before any twice: an early look compares like with like
        for candidate in candidates:
            model = write_model_file(directory / MODELS / f"{candidate.name}.json", candidate.architecture)
            job_dir = directory / RUNS / f"{candidate.name}-seed{seed}"
            job = Job(job_dir.name, overrides(model, job_dir, seed), job_dir)
            jobs.append(job)
            whose[job.key] = outcomes[candidate.name], seed

    def done(result: JobResult) -> None:
        outcome, seed = whose[result.key]
        outcome.seconds[seed] = result.seconds
        score = result.metrics.get(metric)
        if result.ok and score is not None:
            outcome.scores[seed] = score
            text = f"{metric} {score:.4f}"
        else:
            outcome.failures[seed] = result.error or f"gave no {metric}"
            text = f"failed: {outcome.failures[seed]}"
        ended = sum(len(each.seconds) for each in outcomes.values())
        notify(f"[{ended}/{len(jobs)}] {result.key}: {text}, {result.seconds:.0f} s")

    run_jobs(jobs, run, workers=workers, engine=engine, on_done=done, preload=preload)
    return list(outcomes.values())


def best(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The one with the highest mean; None where all failed."""
    scored = [outcome for outcome in outcomes if outcome.mean is not None]
    return max(scored, key=lambda outcome: outcome.mean or 0.0, default=None)


def row(outcome: Outcome, metric: str) -> dict[str, Any]:
    """One candidate as plain values."""
    candidate = outcome.candidate
    factors, coefficients = candidate.factors, candidate.coefficients
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "alpha": None if coefficients is None else coefficients.alpha,
        "beta": None if coefficients is None else coefficients.beta,
        "gamma": None if coefficients is None else coefficients.gamma,
        "depth": round(factors.depth, 4),
        "width": round(factors.width, 4),
        "resolution": round(factors.resolution, 4),
        "height": candidate.architecture.image_size[0],
        "input_width": candidate.architecture.image_size[1],
        "layers": candidate.architecture.backbone.blocks,
        "parameters": candidate.cost.parameters,
        "gmacs": candidate.cost.gmacs,
        "metric": metric,
        "mean": outcome.mean,
        "spread": outcome.spread,
        "scores": {str(seed): score for seed, score in outcome.scores.items()},
        "failures": {str(seed): error for seed, error in outcome.failures.items()},
        "seconds": round(sum(outcome.seconds.values()), 1),
    }


def write_study(
    directory: Path, name: str, outcomes: Sequence[Outcome], metric: str, facts: dict[str, Any]
) -> list[Path]:
    """Write ``NAME.json``, ``NAME.csv`` and ``NAME.html``; gives the paths.

    Args:
        facts: of the whole study, put beside the rows.
    """
    rows = [row(outcome, metric) for outcome in outcomes]
    paths = [write_json(directory / f"{name}.json", {**facts, "rows": rows}, indent=1), directory / f"{name}.csv"]
    text = io.StringIO()
    columns = [key for key in rows[0] if key not in ("scores", "failures")] if rows else []
    seeds = sorted({seed for outcome in outcomes for seed in outcome.scores})
    image_grid = csv.DictWriter(text, [*columns, *(f"seed{seed}" for seed in seeds)], extrasaction="ignore")
    image_grid.writeheader()
    for values in rows:
        image_grid.writerow({**values, **{f"seed{seed}": values["scores"].get(str(seed)) for seed in seeds}})
    write_text(paths[1], text.getvalue())
    if any(outcome.scores for outcome in outcomes):
        paths.append(plot(directory / f"{name}.html", outcomes, metric))
    return paths


def plot(path: Path, outcomes: Sequence[Outcome], metric: str) -> Path:
    """An HTML page: the metric of each seed over multiply-adds, a bar for mean ± spread, and the means as a table."""
    series: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        if (mean := outcome.mean) is None:
            continue
        macs, spread = outcome.candidate.cost.gmacs * 1e3, outcome.spread or 0.0
        points = series.setdefault(outcome.candidate.kind, [])
        points += dots((macs, score) for score in outcome.scores.values())
        points += [(macs, mean - spread), (macs, mean + spread), (math.nan, math.nan)]
    columns = ("name", "kind", "10⁶ multiply-adds", metric, "spread", "seeds")
    rows = [
        [
            outcome.candidate.name,
            outcome.candidate.kind,
            f"{outcome.candidate.cost.gmacs * 1e3:,.1f}",
            "–" if outcome.mean is None else f"{outcome.mean:.4f}",
            "–" if outcome.spread is None else f"{outcome.spread:.4f}",
            len(outcome.scores),
        ]
        for outcome in outcomes
    ]
    page = Page("Scaling study", f"{len(outcomes)} candidates")
    chart = line_chart(series, x_label="10⁶ multiply-adds of an image", y_label=metric)
    page.add(section("Metric and cost", figure(chart, "Dots: seeds. Bars: mean ± standard deviation.")))
    page.add(section("Candidates", table(columns, rows)))
    return page.write(path)
