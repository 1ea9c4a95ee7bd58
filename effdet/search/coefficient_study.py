"""Coefficients of compound scaling by training: the grid, and the comparison with scaling one axis only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from effdet.model import Architecture, Cost, count_cost, write_model_file
from effdet.search.coefficients import Coefficients, Factors, axis, candidates
from effdet.search.costs import machine
from effdet.search.equal_macs import equal, levels
from effdet.search.scaling_study import Candidate, Outcome, best, scaled, train_candidates, write_study
from effdet.search.trainings import Trainings
from heads.structures import UserError

KINDS = ("base", "compound", "depth", "width", "resolution")


@dataclass(frozen=True)
class ScaleSettings:
    """What is trained and how: the keys of ``conf/scale.yaml`` by name."""

    phi: float | None
    alpha: float | None
    beta: float | None
    gamma: float | None
    grid: bool
    compare: bool
    candidates: Mapping[str, Any]
    kinds: Sequence[str]
    seeds: int
    size_step: int
    jobs: int
    engine: str
    out: Path | None


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
        config = self.config

        def overrides(model: Path, run_dir: Path, seed: int) -> tuple[str, ...]:
            return self.trainings.overrides(
                {"architecture.path": model, "run_dir": run_dir, "resume": "auto", "seed": seed}
            )

        outcomes = train_candidates(
            found,
            self.trainings.run,
            overrides,
            directory=self.directory,
            seeds=range(self.trainings.seed, self.trainings.seed + seeds),
            metric=self.metric,
            workers=config.jobs,
            engine=config.engine,
            preload=self.trainings.preload,
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
        config, coefficients, results = self.config, _passed(self.config), {}
        if coefficients is None:
            coefficients, results = _grid(self)
        if config.compare:
            _compare(self, coefficients)
        phi = 1.0 if config.phi is None else config.phi
        architecture = self.scaled(coefficients.at(phi), f"{self.base.name}-{coefficients.label}-phi{phi:g}")
        made_by = {"how": f"{self.base.name} scaled by {coefficients.label}, phi={phi:g}", "study": results}
        path = self.config.out or self.directory / "best.json"
        return write_model_file(path, replace(architecture, made_by=made_by)), results


def _passed(config: ScaleSettings) -> Coefficients | None:
    if config.alpha is None or config.beta is None or config.gamma is None:
        return None
    return Coefficients(config.alpha, config.beta, config.gamma)


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
    """Compound scaling beside each axis alone, as near to the same multiply-adds as whole numbers allow."""
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
