"""Trains scaled models with several seeds each, in processes of their own, and gathers how they did."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from effdet.model import Architecture, Cost, write_model_file
from effdet.search.coefficients import Coefficients, Factors
from effdet.search.executor import run_jobs
from effdet.search.jobs import Job, JobResult, Run

MODELS, RUNS = "models", "runs"
"""Folders of a study: the candidates' model files, and their trainings."""

Words = Callable[[Path, Path, int], tuple[str, ...]]
"""(model file, run folder, seed) -> the words of a training."""


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
    words: Words,
    *,
    folder: Path,
    seeds: Sequence[int],
    metric: str,
    workers: int = 1,
    engine: str = "local",
    preload: Sequence[str] = (),
    notify: Callable[[str], None] = print,
) -> list[Outcome]:
    """Train every candidate with every seed; what `folder` already holds is not trained again.

    Args:
        run: runs the words of one training and gives its metrics; a function of a module.
        metric: the one that is compared.
        workers: trainings at a time.
        notify: told a line when a training ends.

    Returns:
        In the order of `candidates`.
    """
    outcomes = {candidate.name: Outcome(candidate) for candidate in candidates}
    if len(outcomes) < len(candidates):
        raise ValueError("candidates must have different names")
    jobs, whose = list[Job](), dict[str, tuple[Outcome, int]]()
    for seed in seeds:  # all candidates once before any twice: an early look compares like with like
        for candidate in candidates:
            model = write_model_file(folder / MODELS / f"{candidate.name}.json", candidate.architecture)
            job_dir = folder / RUNS / f"{candidate.name}-seed{seed}"
            job = Job(job_dir.name, words(model, job_dir, seed), job_dir)
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
