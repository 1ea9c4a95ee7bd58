"""``effdet scale``: a model for a budget, for a phi, or for coefficients that trainings have found."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.outputs import refuse_json, refuse_model_file
from effdet.cli.overrides import Overrides
from effdet.cli.resume import split
from effdet.cli.run import RunResult
from effdet.renamed import renew_overrides

BUDGETS = ("fit_latency_ms", "fit_memory_mb", "fit_gmacs")
COEFFICIENTS = ("alpha", "beta", "gamma")
TABLES = ("grid", "comparison")
"""In the folder, each as JSON, CSV and a plot."""
STUDY = "study.json"
"""In the folder: the overrides that decide what is trained."""


def run(config: Config, overrides: Overrides) -> RunResult:
    """Do what the overrides ask for."""
    refuse_contradictions(config)
    refuse_model_file(config)
    # These import torch: not before the overrides make sense.
    from effdet.cli.trainings import trainings
    from effdet.search.budget import fit_model
    from effdet.search.scaling_study import ScaleSettings, ScaleStudy

    settings = ScaleSettings(**{field.name: config.get(field.name) for field in fields(ScaleSettings)})
    if config.grid or config.compare:
        directory = _directory(config, overrides)
        path, results = ScaleStudy(settings, trainings("scale", config, overrides), directory).run()
    else:
        directory, results = None, {}
        path = fit_model(settings, trainings("scale", config, overrides))
    print(path)
    return RunResult(directory or path.parent, results)


def _directory(config: Config, overrides: Overrides) -> Path:
    """The study's folder, with the overrides that decide what is trained.

    Raises:
        ConfigError: it holds another study, or this one and no override to go on.
    """
    from effdet.evaluation.results import write_json
    from effdet.search.scaling_study import KINDS

    wrong = [kind for kind in config.kinds if kind not in KINDS]
    if wrong:
        raise ConfigError([f"kinds: {wrong[0]} is none of {', '.join(KINDS)}"])
    train = config.train
    directory = Path(config.run_dir or f"runs/scale-{train.task.name}-{train.data.name}")
    _, rest = split("scale", overrides)
    settings = {"trainings": rest.shown(), "base_phi": config.base_phi, "size_step": config.size_step}
    path = directory / STUDY
    refuse_json(path, "trainings", "base_phi", key=f"run_dir={directory}", what="of a study")
    if path.is_file() and config.overwrite:
        _clear(directory)
    if path.is_file():
        if config.resume is None:
            raise ConfigError(
                [f"run_dir={directory}: holds a study; go on by resume=auto, or replace it by overwrite=true"]
            )
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved["trainings"] = renew_overrides(saved["trainings"])
        if saved != settings:
            changed = [
                f"{key}={settings[key]}, there {saved.get(key)}" for key in settings if saved.get(key) != settings[key]
            ]
            raise ConfigError(
                [f"run_dir={directory}: the study there was made with other overrides; name another", *changed]
            )
    write_json(path, settings, indent=1)
    return directory


def _clear(directory: Path) -> None:
    """Remove what a study writes, and leave whatever else a user keeps there."""
    from effdet.search.scaling_study import MODELS, RUNS

    for part in (MODELS, RUNS):
        shutil.rmtree(directory / part, ignore_errors=True)
    for name in (
        STUDY,
        "best.json",
        *(f"{table}{suffix}" for table in TABLES for suffix in (".json", ".csv", ".html", ".png")),
    ):
        (directory / name).unlink(missing_ok=True)


def refuse_contradictions(config: Config) -> None:
    """One thing is asked for, and wholly.

    Raises:
        ConfigError: it is not.
    """
    budgets, coefficients = _passed(config, BUDGETS), _passed(config, COEFFICIENTS)
    others = [*_passed(config, ("phi", *COEFFICIENTS)), *(key for key in ("grid", "compare") if config.get(key))]
    problems = []
    if len(budgets) > 1:
        problems.append(f"{_shown(config, budgets)}: each is a budget; give one of them")
    if budgets and others:
        problems.append(f"{_shown(config, [*budgets[:1], *others])}: a budget chooses phi by itself; give one of them")
    if coefficients and len(coefficients) < len(COEFFICIENTS):
        missing = [key for key in COEFFICIENTS if key not in coefficients]
        problems.append(f"{_shown(config, coefficients)}: {' and '.join(missing)} must be given too")
    if config.grid and coefficients:
        problems.append(f"grid=true {_shown(config, coefficients)}: the grid finds coefficients; give one of them")
    if config.compare and not config.grid and not coefficients:
        problems.append("compare=true: of which coefficients? Give alpha=, beta= and gamma=, or grid=true to find them")
    if config.base_phi is not None and not (config.grid or coefficients):
        problems.append(f"base_phi={config.base_phi:g}: is the base of coefficients; for one model write phi=")
    if coefficients and not (config.grid or config.compare) and config.phi is None:
        problems.append(f"{_shown(config, coefficients)}: for how many steps? Give phi= too, or compare=true")
    if not budgets and not others:
        problems.append(f"nothing to do: give one of {', '.join(f'{key}=' for key in BUDGETS)}, phi= or grid=true")
    if problems:
        raise ConfigError(problems)


def _passed(config: Config, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if config.get(key) is not None]


def _shown(config: Config, keys: list[str]) -> str:
    return " ".join(f"{key}={str(config.get(key)).lower()}" for key in keys)
