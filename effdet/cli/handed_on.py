"""Commands that train models of their own (`scale`): words they don't know are those of `train`, and are handed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from effdet.cli.check import check, settled
from effdet.cli.compose import compose
from effdet.cli.config import Config
from effdet.cli.errors import ConfigError, closest
from effdet.cli.schema import Schema
from effdet.cli.words import Words

TRAIN = "train"
"""The section of the command's configuration that holds the training's."""


def split(command: str, words: Words) -> tuple[Words, Words]:
    """(the command's own words, those of its trainings). A word of neither goes where it is most likely misspelt."""
    sections = _sections(Schema(command, words.config_dir).primary.keys)
    train = Schema(TRAIN, words.config_dir)
    theirs = {*_sections(train.known(train.groups)), *train.groups} - sections

    def is_own(section: str) -> bool:
        return section in sections or (
            section not in theirs and closest(section, sorted(sections | theirs)) in sections
        )

    own = tuple(word for word in words.words if is_own(word.key.partition(".")[0]))
    rest = tuple(word for word in words.words if word not in own)
    return replace(words, words=own), replace(words, words=rest, problems=(), config_name=None)


def _sections(keys: Iterable[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}


def compose_both(command: str, words: Words) -> Config:
    """The configuration of `command`, with that of its trainings as the section ``train``.

    Raises:
        ConfigError: with the problems of both.
    """
    own, rest = split(command, words)
    problems: list[str] = []
    found: list[Config] = []
    for name, part in ((command, own), (TRAIN, rest)):
        try:
            config = settled(compose(name, part), part)
            if name == TRAIN:
                check(name, config, part)
            found.append(config)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    outer, inner = found
    return Config({**outer.to_dict(), TRAIN: inner.to_dict()}, inner.choices)


def candidate_words(
    command: str, words: Words, settings: Mapping[str, object], *, unless: Mapping[str, object] | None = None
) -> tuple[str, ...]:
    """The words of a training whose model is chosen by `settings`: the user's, without their choice of a model.

    Args:
        settings: dotted keys and values that replace the user's words.
        unless: the same for keys that the user says nothing about.
    """
    _, rest = split(command, words)
    replaced = {"model", "phi", "backbone", "image_size", "architecture.path", *settings}
    kept = [str(word) for word in rest.words if word.key not in replaced]
    added = {key: value for key, value in (unless or {}).items() if rest.get(key) is None} | dict(settings)
    flags = [] if words.config_dir is None else ["--config-dir", str(words.config_dir)]
    return (*flags, *kept, "image_size=null", *(f"{key}={value}" for key, value in added.items()))
