"""``effdet scale`` by trainings: the grid of coefficients, and compound scaling against its axes alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from effdet.cli.base_model import base_of, spec_of, training_of
from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.handed_on import candidate_words, split
from effdet.cli.outputs import refuse_json
from effdet.cli.results import RunResult
from effdet.cli.trial import PRELOAD, QUIET, train_words
from effdet.cli.words import Words
from effdet.evaluation.results import write_json
from effdet.model import Architecture, Cost, count_cost, write_model_file
from effdet.search.coefficients import Coefficients, Factors, axis, candidates
from effdet.search.equal_macs import equal, levels
from effdet.search.measure import machine
from effdet.search.scaled import scaled
from effdet.search.scaling_results import write_study
from effdet.search.scaling_study import MODELS, RUNS, Candidate, Outcome, best, train_candidates
from heads.structures import UserError

TABLES = ("grid", "comparison")
"""In the folder, each as JSON, CSV and a plot."""
STUDY = "study.json"
"""In the folder: the words that decide what is trained."""
KINDS = ("base", "compound", "depth", "width", "resolution")


class Study:
    """One run of the command.

    Raises:
        ConfigError: the folder holds another study, or this one and no word to go on.
    """

    def __init__(self, config: Config, words: Words) -> None:
        self.config, self.words, self.training = config, words, training_of(config)
        self.metric: str = self.training.task.monitor
        self.base = base_of(config)
        self.folder = _folder(config, words)
        self.console = Console()

    def cost(self, architecture: Architecture) -> Cost:
        return count_cost(spec_of(self.training, architecture, self.config.num_classes))

    def scaled(self, factors: Factors, name: str) -> Architecture:
        return scaled(self.base, factors, name=name, size_step=self.config.size_step)

    def candidate(self, kind: str, factors: Factors, name: str, coefficients: Coefficients | None = None) -> Candidate:
        architecture = self.scaled(factors, name)
        return Candidate(kind, architecture, factors, self.cost(architecture), coefficients)

    def train(self, name: str, found: list[Candidate], seeds: int) -> list[Outcome]:
        """Train `found`, print and write the table called `name`."""
        config = self.config

        def words(model: Path, run_dir: Path, seed: int) -> tuple[str, ...]:
            chosen = {"architecture.path": model, "run_dir": run_dir, "resume": "auto", "seed": seed}
            return candidate_words("scale", self.words, chosen, unless=QUIET)

        outcomes = train_candidates(
            found,
            train_words,
            words,
            folder=self.folder,
            seeds=range(self.training.seed, self.training.seed + seeds),
            metric=self.metric,
            workers=config.jobs,
            engine=config.engine,
            preload=PRELOAD,
            notify=lambda line: self.console.print(line, highlight=False),
        )
        facts = {"study": name, "base": self.base.name, "base_size": list(self.base.image_size), "machine": machine()}
        write_study(self.folder, name, outcomes, self.metric, facts)
        self.console.print(_table(name, outcomes, self.metric))
        return outcomes


def run(config: Config, words: Words) -> RunResult:
    """Grid, comparison, or both; ends with the path of the model file."""
    study = Study(config, words)
    coefficients, results = _given(config), {}
    if coefficients is None:
        coefficients, results = _grid(study)
    if config.compare:
        _compare(study, coefficients)
    phi = 1.0 if config.phi is None else config.phi
    architecture = study.scaled(coefficients.at(phi), f"{study.base.name}-{coefficients.label}-phi{phi:g}")
    made_by = {"how": f"{study.base.name} scaled by {coefficients.label}, phi={phi:g}", "study": results}
    path = write_model_file(config.out or study.folder / "best.json", replace(architecture, made_by=made_by))
    print(path)
    return RunResult(study.folder, results)


def _given(config: Config) -> Coefficients | None:
    return None if config.alpha is None else Coefficients(config.alpha, config.beta, config.gamma)


def _grid(study: Study) -> tuple[Coefficients, dict[str, Any]]:
    """The paper's step 1: phi = 1, one seed, the best by the task's main metric."""
    values = study.config.get("candidates")
    points = candidates(values["alpha"], values["beta"], values["gamma"], tolerance=values["tolerance"])
    found = [study.candidate("grid", point.at(1), point.label, point) for point in points]
    study.console.print(
        f"grid: {len(found)} candidates with alpha · beta² · gamma² within {values['tolerance']:.0%} of 2, from "
        f"{study.base.name} at {study.base.image_size[0]} px, {study.cost(study.base).gmacs * 1e3:.2f} million MACs"
    )
    top = best(study.train("grid", found, 1))
    if top is None or top.candidate.coefficients is None:
        raise UserError(f"no candidate of the grid could be trained; {study.folder}/grid.json says why")
    chosen = top.candidate.coefficients
    study.console.print(f"best: alpha={chosen.alpha:g} beta={chosen.beta:g} gamma={chosen.gamma:g}")
    return chosen, {"alpha": chosen.alpha, "beta": chosen.beta, "gamma": chosen.gamma, study.metric: top.mean}


def _compare(study: Study, coefficients: Coefficients) -> None:
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


def _folder(config: Config, words: Words) -> Path:
    """The study's folder, with the words that decide what is trained."""
    wrong = [kind for kind in config.kinds if kind not in KINDS]
    if wrong:
        raise ConfigError([f"kinds: {wrong[0]} is none of {', '.join(KINDS)}"])
    training = training_of(config)
    folder = Path(config.run_dir or f"runs/scale-{training.task.name}-{training.data.name}")
    _, rest = split("scale", words)
    settings = {"trainings": rest.shown(), "base_phi": config.base_phi, "size_step": config.size_step}
    path = folder / STUDY
    refuse_json(path, "trainings", "base_phi", key=f"run_dir={folder}", what="of a study")
    if path.is_file() and config.overwrite:
        _clear(folder)
    if path.is_file():
        if config.resume is None:
            raise ConfigError(
                [f"run_dir={folder}: holds a study; go on by resume=auto, or replace it by overwrite=true"]
            )
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved != settings:
            changed = [
                f"{key}={settings[key]}, there {saved.get(key)}" for key in settings if saved.get(key) != settings[key]
            ]
            raise ConfigError([f"run_dir={folder}: the study there was made with other words; name another", *changed])
    write_json(path, settings, indent=1)
    return folder


def _clear(folder: Path) -> None:
    """Remove what a study writes, and leave whatever else a user keeps there."""
    for part in (MODELS, RUNS):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in (STUDY, "best.json", *(f"{table}{suffix}" for table in TABLES for suffix in (".json", ".csv", ".png"))):
        (folder / name).unlink(missing_ok=True)


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
