"""Coefficients of compound scaling by training: the grid, and the comparison with scaling one axis only.

Models scaled by the same factors in backbone, neck and heads are trained with several seeds, each training in a separate
process. The results are files: JSON, CSV and a chart of the metric over multiply-adds.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from effdet.evaluation.results import write_json
from effdet.files import write_text
from effdet.html import Page, figure, line_chart, section, table
from effdet.model import Architecture, Cost, count_cost, write_model_file
from effdet.search.coefficients import Coefficients, Factors, axis, candidates, scaled
from effdet.search.costs import machine
from effdet.search.equal_macs import equal, levels
from effdet.search.executor import run_jobs
from effdet.search.jobs import Job, JobResult, Trainings
from effdet.search.pareto import dots
from heads.structures import UserError

KINDS = ("base", "compound", "depth", "width", "resolution")
MODELS, RUNS = "models", "runs"
"""Folders of a study: the candidates' model files, and their trainings."""


@dataclass(frozen=True, kw_only=True)
class ScaleSettings:
    """What is asked for: the keys of ``conf/scale.yaml`` by name."""

    fit_latency_ms: Annotated[float, "0.001.."] | None
    """Milliseconds of one image, measured here: the largest phi within it is found by bisection."""
    fit_memory_mb: Annotated[float, "0.001.."] | None
    """10^6 bytes that one image takes, weights included, measured here."""
    fit_gmacs: Annotated[float, "0.000001.."] | None
    """10^9 multiply-adds of one image, counted."""
    phi: Annotated[float, "-4..6"] | None
    """Without coefficients the published scaling (0 is D0); with them the number of steps from the base."""
    alpha: Annotated[float, "1.."] | None
    """Depth of one step; alpha, beta and gamma go together."""
    beta: Annotated[float, "1.."] | None
    """Width of one step."""
    gamma: Annotated[float, "1.."] | None
    """Input size of one step."""
    grid: bool
    """true trains each candidate below and takes the best as coefficients (the paper's step 1)."""
    compare: bool
    """true compares compound scaling with scaling only depth, width or resolution, at equal multiply-adds."""
    candidates: dict[str, Any]
    kinds: tuple[str, ...]
    """What is compared."""
    seeds: Annotated[int, "1.."]
    """Trainings of each in the comparison, with the seeds seed, seed + 1, …; the grid takes only the first."""
    size_step: Annotated[int, "1.."]
    """Input sides are rounded to a multiple of this many pixels."""
    jobs: Annotated[int, "1.."]
    """Trainings at a time, each in its own process."""
    engine: Literal["local", "ray"]
    """Where they run: this machine, or a Ray cluster (pip install 'effdet-lightning[ray]')."""
    runs: Annotated[int, "5.."]
    """Passes whose median is the latency, after three for warm-up."""
    threads: Annotated[int, "1.."] | None
    """CPU threads of the measured passes; null is as many as torch takes."""
    out: Path | None
    """The model file; null is architectures/NAME.json, or best.json in run_dir."""

    @property
    def coefficients(self) -> Coefficients | None:
        """Those that the user gave, all three or none."""
        if self.alpha is None or self.beta is None or self.gamma is None:
            return None
        return Coefficients(self.alpha, self.beta, self.gamma)


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
    trainings: Trainings,
    *,
    directory: Path,
    seeds: Sequence[int],
    workers: int = 1,
    engine: str = "local",
    notify: Callable[[str], None] = print,
) -> list[Outcome]:
    """Train every candidate with every seed; what `directory` already holds is not trained again.

    Args:
        notify: called with a line when a training ends.

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
            chosen = {"architecture.path": model, "run_dir": job_dir, "resume": "auto", "seed": seed}
            job = Job(job_dir.name, trainings.overrides(chosen), job_dir)
            jobs.append(job)
            whose[job.key] = outcomes[candidate.name], seed

    def done(result: JobResult) -> None:
        outcome, seed = whose[result.key]
        outcome.seconds[seed] = result.seconds
        score = result.metrics.get(trainings.metric)
        if result.ok and score is not None:
            outcome.scores[seed] = score
            text = f"{trainings.metric} {score:.4f}"
        else:
            outcome.failures[seed] = result.error or f"gave no {trainings.metric}"
            text = f"failed: {outcome.failures[seed]}"
        ended = sum(len(each.seconds) for each in outcomes.values())
        notify(f"[{ended}/{len(jobs)}] {result.key}: {text}, {result.seconds:.0f} s")

    run_jobs(jobs, trainings.run, workers=workers, engine=engine, on_done=done, preload=trainings.preload)
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
        **{name: getattr(coefficients, name, None) for name in ("alpha", "beta", "gamma")},
        **{name: round(factor, 4) for name, factor in asdict(factors).items()},
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
    writer = csv.DictWriter(text, [*columns, *(f"seed{seed}" for seed in seeds)], extrasaction="ignore")
    writer.writeheader()
    for values in rows:
        writer.writerow({**values, **{f"seed{seed}": values["scores"].get(str(seed)) for seed in seeds}})
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


class ScaleStudy:
    """One run of the command in `directory`."""

    def __init__(self, settings: ScaleSettings, trainings: Trainings, directory: Path) -> None:
        self.config, self.trainings, self.directory = settings, trainings, directory
        self.metric = trainings.metric
        self.base = trainings.base()
        self.console = Console()

    def cost(self, architecture: Architecture) -> Cost:
        return count_cost(self.trainings.spec(architecture))

    def scaled(self, factors: Factors, name: str) -> Architecture:
        return scaled(self.base, factors, name=name, size_step=self.config.size_step)

    def candidate(self, kind: str, factors: Factors, name: str, coefficients: Coefficients | None = None) -> Candidate:
        architecture = self.scaled(factors, name)
        return Candidate(kind, architecture, factors, self.cost(architecture), coefficients)

    def train(self, name: str, found: list[Candidate], seeds: int) -> list[Outcome]:
        """Train `found`, print and write the table called `name`."""
        outcomes = train_candidates(
            found,
            self.trainings,
            directory=self.directory,
            seeds=range(self.trainings.seed, self.trainings.seed + seeds),
            workers=self.config.jobs,
            engine=self.config.engine,
            notify=lambda line: self.console.print(line, highlight=False),
        )
        facts = {"study": name, "base": self.base.name, "base_size": list(self.base.image_size), "machine": machine()}
        write_study(self.directory, name, outcomes, self.metric, facts)
        self.console.print(_table(name, outcomes, self.metric))
        return outcomes

    def run(self) -> tuple[Path, dict[str, Any]]:
        """Grid, comparison, or both.

        Returns:
            The model file, and the results of the grid where it was trained.
        """
        config, coefficients, results = self.config, self.config.coefficients, {}
        if coefficients is None:
            coefficients, results = _grid(self)
        if config.compare:
            _compare(self, coefficients)
        phi = 1.0 if config.phi is None else config.phi
        architecture = self.scaled(coefficients.at(phi), f"{self.base.name}-{coefficients.label}-phi{phi:g}")
        made_by = {"how": f"{self.base.name} scaled by {coefficients.label}, phi={phi:g}", "study": results}
        path = self.config.out or self.directory / "best.json"
        return write_model_file(path, replace(architecture, made_by=made_by)), results


def _grid(study: ScaleStudy) -> tuple[Coefficients, dict[str, Any]]:
    """The paper's step 1: phi = 1, one seed, the best by the task's main metric."""
    values = study.config.candidates
    points = candidates(values["alpha"], values["beta"], values["gamma"], tolerance=values["tolerance"])
    found = [study.candidate("grid", point.at(1), point.label, point) for point in points]
    study.console.print(
        f"grid: {len(found)} candidates with alpha · beta² · gamma² within {values['tolerance']:.0%} of 2, from "
        f"{study.base.name} at {study.base.image_size[0]} px, {study.cost(study.base).gmacs * 1e3:.2f} million MACs"
    )
    top = best(study.train("grid", found, 1))
    if top is None or top.candidate.coefficients is None:
        raise UserError(f"no candidate of the grid could be trained; {study.directory}/grid.json says why")
    chosen = top.candidate.coefficients
    study.console.print(f"best: alpha={chosen.alpha:g} beta={chosen.beta:g} gamma={chosen.gamma:g}")
    return chosen, {"alpha": chosen.alpha, "beta": chosen.beta, "gamma": chosen.gamma, study.metric: top.mean}


def _compare(study: ScaleStudy, coefficients: Coefficients) -> None:
    """Compound scaling beside each single axis, as near to the same multiply-adds as whole numbers allow."""
    phi = 1.0 if study.config.phi is None else study.config.phi
    kinds = [kind for kind in study.config.kinds if kind != "base"]
    target = study.cost(study.scaled(coefficients.at(phi), "compound")).gmacs

    def factors(kind: str, factor: float) -> Factors:
        return coefficients.at(factor) if kind == "compound" else axis(kind, factor)

    axes = {
        kind: levels(
            lambda factor, kind=kind: study.scaled(factors(kind, factor), kind),
            lambda model: study.cost(model).gmacs,
            target=target,
            low=0.0 if kind == "compound" else 1.0,
        )
        for kind in kinds
    }
    chosen = equal(axes, target=target)
    found = [
        study.candidate(kind, factors(kind, level.factor), kind, coefficients if kind == "compound" else None)
        for kind, level in chosen.items()
    ]
    if "base" in study.config.kinds:
        found.insert(0, study.candidate("base", Factors(), "base"))
    study.train("comparison", found, study.config.seeds)


def _table(name: str, outcomes: list[Outcome], metric: str) -> Table:
    columns = ("", "depth", "width", "size", "layers", "M MACs", metric, "±", "runs", "s")
    table = Table(*columns, box=box.SIMPLE_HEAD, title=name, pad_edge=False, padding=(0, 0, 0, 1))
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    top = best(outcomes)
    for outcome in outcomes:
        candidate, factors = outcome.candidate, outcome.candidate.factors
        height, width = candidate.architecture.image_size
        table.add_row(
            candidate.name,
            f"{factors.depth:.2f}",
            f"{factors.width:.2f}",
            str(height) if height == width else f"{height} × {width}",
            str(candidate.architecture.backbone.blocks),
            f"{candidate.cost.gmacs * 1e3:.2f}",
            "–" if outcome.mean is None else f"{outcome.mean:.4f}",
            "–" if outcome.spread is None else f"{outcome.spread:.4f}",
            f"{len(outcome.scores)}/{len(outcome.seconds)}",
            f"{sum(outcome.seconds.values()):.0f}",
            style="bold" if outcome is top else "",
        )
    return table
