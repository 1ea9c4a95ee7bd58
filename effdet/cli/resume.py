"""A run that goes on takes its configuration from the run, not from whatever the overrides leave out.

``effdet train resume=runs/x`` needs no further override. One that is given counts from the resume on (more epochs, another
patience), or is refused where the run would no longer be the one that was begun; none is passed over.
:data:`effdet.training.resume.RULES` says which, for every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from effdet.cli.compose import compose
from effdet.cli.config import Config, check, resolved
from effdet.cli.overrides import ConfigError, Overrides, closest, expand
from effdet.cli.run import CONFIG, RunDir, is_first, parent_run, resolve
from effdet.cli.schema import Schema
from effdet.plugins import TARGET, check_trust, naming, targets
from effdet.training.resume import OTHER_VALUES, Rule, differences, rule, shown

CHOICES = ("task", "data", "backbone", "neck", "head", "optimizer", "augment")
"""Groups whose files differ in their keys: the run's file is taken whole, whichever one the overrides compose."""
COMPUTED = ("task.monitor",)
"""Keys that a training fills where they are null: a null among the overrides, or in a task's file, asks for nothing."""
FROM_RECIPE = (
    "optimizer",
    "augment",
    "ema",
    "ema_ramp",
    "freeze",
    "batch_limit",
    "trainer.max_epochs",
    "data.repeat_threshold",
)
"""Keys and groups whose ``auto`` the recipe has filled: an auto among the overrides asks for nothing."""
NOT_INHERITED = ("run_dir", "resume", "overwrite", "experiment")


def saved_config(source: Path) -> Config:
    """The configuration beside `source`, a run folder or a checkpoint of one.

    Raises:
        ConfigError: there is none.
    """
    directory = source if source.is_dir() else source.parent.parent
    path = directory / CONFIG
    if not path.is_file():
        raise ConfigError([f"{source}: no {CONFIG} in {directory}; only the folder of a run has one"])
    return Config.from_yaml(path.read_text(encoding="utf-8"), origin=path)


def asked(config: Config, default: Config, overrides: Iterable[str]) -> set[str]:
    """Leaves of `config` that the user asked for: named by an override, or changed by one (an experiment, a task).

    Args:
        config: composed with the user's overrides.
        default: composed without any.
        overrides: the keys of the overrides; a group stands for all that lies in it.
    """
    plain = default.flat()
    named = tuple(overrides)
    return {
        key
        for key, value in config.flat().items()
        if not (value is None and (key in COMPUTED or key.startswith(("head.", "backbone."))))
        if not (value == "auto" and any(key == part or key.startswith(f"{part}.") for part in FROM_RECIPE))
        if any(key == override or key.startswith(f"{override}.") for override in named)
        or (key in plain and plain[key] != value)
    }


def continued(config: Config, saved: Config, explicit: set[str]) -> Config:
    """The configuration of the run that goes on.

    Raises:
        ConfigError: the overrides ask for another model or other data than the run has; a line a difference.
    """
    old, new = saved.flat(), config.flat()
    compared = {
        key: value
        for key, value in new.items()
        if key in explicit and rule(key) is Rule.FIXED and _is_comparable(key, new, old)
    }
    saved_values = {key: old.get(key, old.get(f"{key}.{TARGET}", "no such key")) for key in compared}
    if lines := differences(saved_values, compared):
        raise ConfigError([OTHER_VALUES.format("RUN"), *lines])
    whole = config.replacing(inherited(old, new, explicit))
    sections = {name for key in old for name in _sections(key)}
    return whole.without(
        [key for key in new if _is_choice(key) and key not in old and key not in explicit and key not in sections]
    )


def _is_comparable(key: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """A key that the run lacks is younger than the run, unless a ``_target_`` is concerned."""
    return key in old or f"{key}.{TARGET}" in old or any(f"{section}.{TARGET}" in new for section in _sections(key))


def _sections(key: str) -> list[str]:
    """``a`` and ``a.b`` of ``a.b.c``."""
    return [key[:index] for index, letter in enumerate(key) if letter == "."]


def inherited(old: Mapping[str, Any], new: Mapping[str, Any], explicit: set[str]) -> dict[str, Any]:
    """What is taken from the run: every key that still exists and was not asked for."""
    return {
        key: value
        for key, value in old.items()
        if key not in explicit
        and key.partition(".")[0] not in NOT_INHERITED
        and (key in new or _is_choice(key) or rule(key) is Rule.FIXED)
    }


def _is_choice(key: str) -> bool:
    return key.partition(".")[0] in CHOICES


def changed(config: Config, saved: Config) -> list[str]:
    """``key: saved -> now`` for each value that counts from the resume on."""
    old = saved.flat()
    return [
        f"{key}: {shown(old[key])} -> {shown(value)}"
        for key, value in config.flat().items()
        if key in old and old[key] != value and rule(key) is Rule.COUNTS
    ]


MEASURING = ("evaluate", "export")
"""Commands that measure a model on data."""
FROM_MODEL = ("data", "max_images")
"""Keys and groups that they take from the run whose model they measure."""


def inherit(command: str, overrides: Overrides, *, trains: bool = False) -> Config:
    """The composed configuration of `command`, completed from the run that its overrides name.

    Raises:
        ConfigError: as :func:`compose`; a run to resume is not there, or differs.
    """
    if command == "train":
        return _train(overrides)
    if trains:
        return compose_both(command, overrides)
    if command in MEASURING and (source := _run_of(overrides.get("model"))) is not None:
        return _measuring(command, overrides, source)
    return compose(command, overrides)


def _train(overrides: Overrides) -> Config:
    started = parent_run()
    if started is not None:
        # A process that the first one started: the same run, override for override.
        saved = saved_config(started.run_dir)
        return saved.restored(compose("train", overrides)) if saved.has_addresses else saved
    config = compose("train", overrides)
    if config.resume is None and not is_first():
        return config  # the first process, beside this one, has claimed the folder already
    directory = resolve_run_dir(config)  # a folder that may not be written to is an error before any work
    if directory.resume_from is None:
        return config
    # With the user's data, which must be the run's: what follows from it (the default number of epochs) is not asked for.
    same_data = tuple(override for override in overrides.items if override.key == "data")
    default = compose("train", Overrides(same_data, config_dir=overrides.config_dir, config_name=overrides.config_name))
    explicit = asked(config, default, [override.key for override in overrides.items])
    return continued(config, _trusted(directory.resume_from, config).restored(config), explicit)


def _trusted(source: Path, config: Config) -> Config:
    """The configuration of the run `source`, whose targets `config` names too or trusts.

    Raises:
        UserError: it names others.
    """
    saved = saved_config(source)
    with naming(targets(config.to_dict())):
        _check_trust(saved.to_dict(), source, config)
    return saved


def _check_trust(values: Mapping[str, Any], source: Path, config: Config) -> None:
    directory = source if source.is_dir() else source.parent.parent
    check_trust(targets(values), origin=directory / CONFIG, trust=config.get("trust", False))


def resolve_run_dir(config: Config) -> RunDir:
    """Where the training of `config` writes."""
    return resolve(config.run_dir, resume=config.resume, overwrite=config.overwrite, prefix=run_prefix(config))


def run_prefix(config: Config) -> str:
    """``TASK-DATA-BACKBONE``."""
    if config.model is not None:
        backbone = Path(config.model).name
    elif config.phi is not None:
        backbone = f"phi{config.phi:g}"
    elif (path := config.get("architecture.path") or config.get("backbone.path")) is not None:
        backbone = Path(path).stem
    else:
        backbone = config.backbone.name
    return f"{config.task.name}-{config.data.name}-{backbone}"


def _run_of(model: str | None) -> Path | None:
    """The run that a ``model=`` override names by its folder or by a checkpoint in it, if it does."""
    if model is None:
        return None
    path = Path(expand(model))
    directory = path if path.is_dir() else path.parent.parent
    return path if path.exists() and (directory / CONFIG).is_file() else None


def _measuring(command: str, overrides: Overrides, source: Path) -> Config:
    saved, key = saved_config(source), f"data.{TARGET}"
    target, again = saved.get(key), overrides.get(key)
    if overrides.get("data") is not None or again not in (None, target):
        return compose(command, overrides)
    overrides = overrides.adding(**({"data": str(saved.get("data.name"))} if target is None else {key: target}))
    config = compose(command, overrides)
    with naming([] if again is None else [again]):
        _check_trust(saved.get("data"), source, config)
    explicit = {override.key for override in overrides.items if override.key not in ("data", key)}
    old = {key: value for key, value in saved.flat().items() if key.partition(".")[0] in FROM_MODEL}
    return config.replacing(inherited(old, config.flat(), explicit))


TRAIN = "train"
"""The section of the command's configuration that holds the training's."""


def split(command: str, overrides: Overrides) -> tuple[Overrides, Overrides]:
    """(the command's own overrides, those of its trainings). An override of neither goes where it is most likely misspelt."""
    sections = _first_parts(Schema(command, overrides.config_dir).primary.keys)
    train = Schema(TRAIN, overrides.config_dir)
    theirs = {*_first_parts(train.known(train.groups)), *train.groups} - sections

    def is_own(section: str) -> bool:
        return section in sections or (
            section not in theirs and closest(section, sorted(sections | theirs)) in sections
        )

    own = tuple(override for override in overrides.items if is_own(override.key.partition(".")[0]))
    rest = tuple(override for override in overrides.items if override not in own)
    return replace(overrides, items=own), replace(overrides, items=rest, problems=(), config_name=None)


def _first_parts(keys: Iterable[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}


def compose_both(command: str, overrides: Overrides) -> Config:
    """The configuration of `command`, with that of its trainings as the section ``train``.

    Raises:
        ConfigError: with the problems of both.
    """
    own, rest = split(command, overrides)
    problems: list[str] = []
    found: list[Config] = []
    for name, part in ((command, own), (TRAIN, rest)):
        try:
            config = resolved(compose(name, part), part)
            if name == TRAIN:
                check(name, config, part)
            found.append(config)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    outer, inner = found
    return Config({**outer.to_dict(), TRAIN: inner.to_dict()}, inner.choices)


def candidate_overrides(
    command: str, overrides: Overrides, settings: Mapping[str, object], *, unless: Mapping[str, object] | None = None
) -> tuple[str, ...]:
    """The overrides of a training whose model is chosen by `settings`: the user's, without their choice of a model.

    Args:
        settings: dotted keys and values that replace the user's overrides.
        unless: the same for keys that the user says nothing about.
    """
    _, rest = split(command, overrides)
    replaced = {"model", "phi", "backbone", "image_size", "architecture.path", *settings}
    kept = [str(override) for override in rest.items if override.key not in replaced]
    added = {key: value for key, value in (unless or {}).items() if rest.get(key) is None} | dict(settings)
    flags = [] if overrides.config_dir is None else ["--config-dir", str(overrides.config_dir)]
    return (*flags, *kept, "image_size=null", *(f"{key}={value}" for key, value in added.items()))
