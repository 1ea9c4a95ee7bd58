"""What a command takes from an earlier run: a resumed training its configuration, an evaluation its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from effdet.cli import ranks, rundir
from effdet.cli.compose import compose
from effdet.cli.config import Config
from effdet.cli.handed_on import compose_both
from effdet.cli.quoting import expand
from effdet.cli.registry import COMMANDS
from effdet.cli.resume import asked, continued, inherited, saved_config
from effdet.cli.words import Words
from effdet.plugins import TARGET, check_trust, naming, targets

MEASURING = ("evaluate", "export")
"""Commands that measure a model on data."""
FROM_MODEL = ("data", "limit")
"""Keys and groups that they take from the run whose model they measure."""


def inherit(command: str, words: Words) -> Config:
    """The composed configuration of `command`, completed from the run that its words name.

    Raises:
        ConfigError: as :func:`compose`; a run to resume is not there, or differs.
    """
    if command == "train":
        return _train(words)
    if COMMANDS[command].trains:
        return compose_both(command, words)
    if command in MEASURING and (source := _run_of(words.get("model"))) is not None:
        return _measuring(command, words, source)
    return compose(command, words)


def _train(words: Words) -> Config:
    started = ranks.inherited()
    if started is not None:
        # A process that the first one started: the same run, word for word.
        saved = saved_config(started.run_dir)
        return saved.restored(compose("train", words)) if saved.has_addresses else saved
    config = compose("train", words)
    if config.resume is None and not ranks.is_first():
        return config  # the first process, beside this one, has claimed the folder already
    folder = resolve_run_dir(config)  # a folder that may not be written to is an error before any work
    if folder.resume_from is None:
        return config
    # With the user's data, which must be the run's: what follows from it (the default number of epochs) is not asked for.
    same_data = tuple(word for word in words.words if word.key == "data")
    default = compose("train", Words(same_data, config_dir=words.config_dir, config_name=words.config_name))
    explicit = asked(config, default, [word.key for word in words.words])
    return continued(config, _trusted(folder.resume_from, config).restored(config), explicit)


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
    folder = source if source.is_dir() else source.parent.parent
    check_trust(targets(values), origin=folder / rundir.CONFIG, trust=config.get("trust", False))


def resolve_run_dir(config: Config) -> rundir.RunDir:
    """Where the training of `config` writes."""
    return rundir.resolve(config.run_dir, resume=config.resume, overwrite=config.overwrite, prefix=run_prefix(config))


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
    """The run that a ``model=`` word names by its folder or by a checkpoint in it, if it does."""
    if model is None:
        return None
    path = Path(expand(model))
    folder = path if path.is_dir() else path.parent.parent
    return path if path.exists() and (folder / rundir.CONFIG).is_file() else None


def _measuring(command: str, words: Words, source: Path) -> Config:
    saved, key = saved_config(source), f"data.{TARGET}"
    target, again = saved.get(key), words.get(key)
    if words.get("data") is not None or again not in (None, target):
        return compose(command, words)
    words = words.adding(**({"data": str(saved.get("data.name"))} if target is None else {key: target}))
    config = compose(command, words)
    with naming([] if again is None else [again]):
        _check_trust(saved.get("data"), source, config)
    explicit = {word.key for word in words.words if word.key not in ("data", key)}
    old = {key: value for key, value in saved.flat().items() if key.partition(".")[0] in FROM_MODEL}
    return config.replacing(inherited(old, config.flat(), explicit))
