"""``effdet scale`` and ``effdet search``: models for a budget, from coefficients or from a search, and their trainings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from rich.console import Console

from backbones.scaling import backbone_spec, phi_spec
from backbones.spec import ExternalSpec
from effdet.cli.config import Config
from effdet.cli.models import chosen_model, model_spec, torch_device, with_monitor
from effdet.cli.overrides import ConfigError, Overrides
from effdet.cli.resume import candidate_overrides, split
from effdet.cli.run import RunResult, refuse_json
from effdet.evaluation.results import write_json
from effdet.model import Architecture, ModelSpec
from effdet.renamed import renew_overrides
from effdet.scaling import detector_phi, row_for_backbone
from effdet.search.architecture_search import STUDY as SEARCH_STUDY
from effdet.search.architecture_search import ArchitectureSearch, SearchSettings, summary
from effdet.search.budget import fit_model
from effdet.search.jobs import Trainings
from effdet.search.pareto import best_trial, pareto_front
from effdet.search.scaling_study import KINDS, MODELS, RUNS, ScaleSettings, ScaleStudy
from effdet.training.monitor import monitor_name
from heads.structures import UserError


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Coefficients that are tried."""

    alpha: tuple[float, ...]
    """Depths."""
    beta: tuple[float, ...]
    """Widths."""
    gamma: tuple[float, ...]
    """Input sizes."""
    tolerance: Annotated[float, "0..1"]
    """A candidate's alpha * beta^2 * gamma^2 may differ from 2 by this share."""


@dataclass(frozen=True, kw_only=True)
class Scale(ScaleSettings):
    """Keys of `effdet scale`."""

    base_phi: Annotated[float, "-4..6"] | None
    """The base model is that of this phi; null takes backbone= or architecture.path=."""
    num_classes: Annotated[int, "1.."] | None
    """Classes that costs are counted with; null is the published number."""
    run_dir: Path | None
    """Folder of the trainings, their table and plot; null is runs/scale-TASK-DATA."""
    resume: Literal["auto"] | None
    """auto goes on with the study in run_dir."""
    overwrite: bool
    """true deletes the study in run_dir."""
    candidates: Candidates


@dataclass(frozen=True, kw_only=True)
class Space:
    """The networks that may be proposed."""

    fused: bool
    """true offers Fused-MBConv too."""
    divisor: Annotated[int, "1.."]
    """Filters are multiples of it; with narrow bases 4 keeps the options apart."""


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Of algorithm=evolution."""

    population: Annotated[int, "1.."]
    """Size of the population; the first N candidates are random."""
    sample: Annotated[int, "1.."]
    """Number of them that compete to be a parent."""


@dataclass(frozen=True, kw_only=True)
class Search(SearchSettings):
    """Keys of `effdet search`."""

    run_dir: Path | None
    """Folder of the study, its trainings, table and plot; null is runs/search-TASK-DATA."""
    resume: Literal["auto"] | None
    """auto goes on with the study in run_dir."""
    overwrite: bool
    """true deletes the study in run_dir."""
    space: Space
    evolution: Evolution


TABLES = ("grid", "comparison")
"""In the folder, each as JSON, CSV and a plot."""
STUDY = "study.json"
"""In the folder: the overrides that decide what is trained."""


def run_scale(config: Config, overrides: Overrides) -> RunResult:
    """Do what the overrides ask for."""
    refuse_model_file(config)
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
    for part in (MODELS, RUNS):
        shutil.rmtree(directory / part, ignore_errors=True)
    for name in (
        STUDY,
        "best.json",
        *(f"{table}{suffix}" for table in TABLES for suffix in (".json", ".csv", ".html", ".png")),
    ):
        (directory / name).unlink(missing_ok=True)


def run_search(config: Config, overrides: Overrides) -> RunResult:
    """Search, print, write."""
    refuse_model_file(config)
    training = config.train
    directory = Path(config.run_dir or f"runs/search-{training.task.name}-{training.data.name}")
    console = Console()
    with _alone(directory, config):
        settings = SearchSettings(**{field.name: config.get(field.name) for field in fields(SearchSettings)})
        found = ArchitectureSearch(settings, trainings("search", config, overrides), directory)
        console.print(
            f"space: {found.space.count:.2e} architectures around {found.base.name} at {found.base.image_size[0]} px; "
            f"target {found.target:.4g} {found.unit}, reward {config.reward}",
            highlight=False,
            soft_wrap=True,
        )
        try:
            trials = found.run()
        except KeyboardInterrupt:
            print(f"stopped; the same overrides with run_dir={directory} resume=auto go on")
            raise
        path = found.write(trials)
        console.print(found.table.terminal(pareto_front(trials), best_trial(trials)))
        console.print(summary(trials), highlight=False, soft_wrap=True)
        print(directory / "pareto.html")
        print(path)
    top = best_trial(trials)
    return RunResult(directory, {"reward": top and top.reward, found.metric: top and top.accuracy})


@contextmanager
def _alone(directory: Path, config: Config) -> Iterator[None]:
    """The folder, for this process only.

    Raises:
        ConfigError: it holds a study, and no override says what to do with it.
        UserError: another search writes to it.
    """
    if config.resume is not None and config.overwrite:
        raise ConfigError([f"resume={config.resume} overwrite=true: contradict each other; give one of them"])
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"run_dir={directory}: another search is writing to it; wait for it, or name another") from None
    try:
        if (directory / SEARCH_STUDY).exists():
            if config.overwrite:
                for part in ("trials", "models"):
                    shutil.rmtree(directory / part, ignore_errors=True)
                for file in directory.glob(f"{SEARCH_STUDY}*"):
                    file.unlink()
            elif config.resume is None:
                raise ConfigError(
                    [f"run_dir={directory}: holds a study; go on by resume=auto, or replace it by overwrite=true"]
                )
        yield
    finally:
        lock.release()


PRELOAD = ("effdet.cli.train",)
"""What every training imports."""
QUIET = {"progress": "false", "logger": "null", "report": "false", "preflight": "false", "weights": "none"}
"""Overrides of a training that is one of many, where the user says nothing else."""


def train(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """Trains as ``effdet train OVERRIDES``; returns the metrics of the last evaluation."""
    from effdet.cli.app import train as train_once

    return train_once(list(overrides)).metrics


def trainings(command: str, config: Config, overrides: Overrides) -> Trainings:
    """Those of `command` (``scale`` or ``search``), whose configuration holds theirs as the section ``train``."""
    training = training_of(config)
    _, rest = split(command, overrides)
    return Trainings(
        base=lambda: _base(config, training),
        published=lambda phi: _published(training, phi),
        spec=lambda architecture: model_spec(training, architecture=architecture, num_classes=config.num_classes),
        overrides=lambda chosen: candidate_overrides(command, overrides, chosen, unless=QUIET),
        described=rest.shown(),
        run=train,
        task=training.task.name,
        metric=monitor_name(with_monitor(training).task.monitor),
        seed=training.seed,
        device=torch_device(training.device),
        progress=training.progress,
        preload=PRELOAD,
    )


def training_of(config: Config) -> Config:
    """The configuration of the trainings."""
    return Config(config.get("train"))


def _published(training: Config, phi: float) -> Architecture:
    backbone = phi_spec(phi)
    name = backbone.name if phi != int(phi) or phi < 0 else f"phi{phi:g}"
    return _sized(training, Architecture.of_row(detector_phi(phi), backbone, name=name))


def _base(config: Config, training: Config) -> Architecture:
    """What the overrides choose as the base: ``base_phi=``, ``architecture.path=``, else ``backbone=``.

    Raises:
        UserError: a published model by name, whose parts are not one of ours to scale.
    """
    if config.base_phi is not None:
        return _published(training, config.base_phi)
    choice = chosen_model(training)
    if choice["name"] is not None or choice["phi"] is not None:
        raise UserError("the base is chosen by backbone=, architecture.path= or base_phi=, not by model=")
    if (architecture := choice["architecture"]) is not None:
        size = _spec(training, architecture).preprocess.size  # image_size=, else the file's
        return replace(architecture, image_size=size)
    backbone = choice["backbone"]
    if isinstance(backbone, ExternalSpec):
        raise UserError(
            f"backbone={backbone.name}: only backbones of ours have stages to scale; `effdet info` lists them"
        )
    if not isinstance(backbone, str):
        return _sized(training, Architecture.of_row(detector_phi(0), backbone, name=backbone.name))
    spec = backbone_spec(backbone)
    return _sized(training, Architecture.of_row(row_for_backbone(spec.name), spec, name=spec.name))


def _spec(training: Config, architecture: Architecture) -> ModelSpec:
    return model_spec(training, architecture=architecture)


def _sized(training: Config, architecture: Architecture) -> Architecture:
    if _spec(training, architecture).neck is None:
        side = architecture.backbone.image_size
        architecture = replace(architecture, image_size=(side, side))
    return replace(architecture, image_size=_spec(training, architecture).preprocess.size)


def refuse_model_file(config: Config) -> None:
    """``out`` of `scale` and `search`.

    Raises:
        UserError: it is there, and no model file.
    """
    if config.out is not None:
        refuse_json(Path(config.out), "backbone", "image_size", key=f"out={config.out}", what="a model file")
