"""A run that goes on takes its configuration from the run, not from whatever the words leave out.

``effdet train resume=runs/x`` needs no further word. Words that are given win where they may (more epochs, another batch
size); where they would make it another model or other data, that is an error which lists every difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.rundir import CONFIG

IDENTITY = ("task", "data", "backbone", "neck", "head", "model", "phi", "architecture", "image_size", "limit")
"""Keys and groups that say what is trained on what."""
CHOICES = ("task", "data", "backbone", "neck", "head", "optimizer", "augment")
"""Groups whose files differ in their keys: the run's file is taken whole, whichever one the words compose."""
NOT_INHERITED = ("run_dir", "resume", "overwrite", "experiment")


def saved_config(source: Path) -> Config:
    """The configuration beside `source`, a run folder or a checkpoint of one.

    Raises:
        ConfigError: there is none.
    """
    folder = source if source.is_dir() else source.parent.parent
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError([f"{source}: no {CONFIG} in {folder}; only the folder of a run has one"])
    return Config.from_yaml(path.read_text(encoding="utf-8"), origin=path)


def asked(config: Config, default: Config, words: Iterable[str]) -> set[str]:
    """Leaves of `config` that the user asked for: named by a word, or changed by one (an experiment, a task).

    Args:
        config: composed with the user's words.
        default: composed without any.
        words: the keys of the words; a group stands for all that lies in it.
    """
    plain = default.flat()
    named = tuple(words)
    return {
        key
        for key, value in config.flat().items()
        if any(key == word or key.startswith(f"{word}.") for word in named) or (key in plain and plain[key] != value)
    }


def continued(config: Config, saved: Config, explicit: set[str]) -> Config:
    """The configuration of the run that goes on.

    Raises:
        ConfigError: the words ask for another model or other data than the run has; a line a difference.
    """
    old, new = saved.flat(), config.flat()
    differences = [
        f"{key}={_shown(new[key])}: the run has {_shown(old[key]) if key in old else 'no such key'}"
        for key in new
        if key in explicit and _is_identity(key) and new[key] != old.get(key, new[key])
    ]
    if differences:
        raise ConfigError(["the run to resume has another model or other data; leave these words out:", *differences])
    whole = config.replacing(inherited(old, new, explicit))
    return whole.without([key for key in new if _is_choice(key) and key not in old and key not in explicit])


def inherited(old: Mapping[str, Any], new: Mapping[str, Any], explicit: set[str]) -> dict[str, Any]:
    """What is taken from the run: every key that still exists and was not asked for."""
    return {
        key: value
        for key, value in old.items()
        if key not in explicit
        and key.partition(".")[0] not in NOT_INHERITED
        and (key in new or _is_identity(key) or _is_choice(key))
    }


def _is_choice(key: str) -> bool:
    return key.partition(".")[0] in CHOICES


def _is_identity(key: str) -> bool:
    return key.partition(".")[0] in IDENTITY


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
