"""Which groups, choices and keys a command has, with the user's own files beside ours."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from effdet.cli.errors import ConfigError
from effdet.cli.folder import choices, conf_dir
from effdet.cli.keys import Key, KeyFile, read_keys


@dataclass(frozen=True)
class Schema:
    """The configuration files that a command is composed from.

    Args:
        name: of the primary file, without ``.yaml``.
        own: the user's folder, or None.
    """

    name: str
    own: Path | None = None

    @functools.cached_property
    def primary(self) -> KeyFile:
        return read_keys(conf_dir() / f"{self.name}.yaml")

    @functools.cached_property
    def groups(self) -> dict[str, Any]:
        """``{group: default choice}`` in the order of the primary's defaults list."""
        text = yaml.safe_load(self.primary.path.read_text(encoding="utf-8"))
        entries = [entry for entry in text.get("defaults", ()) if isinstance(entry, dict)]
        return {group: choice for entry in entries for group, choice in entry.items()}

    def choices(self, group: str) -> dict[str, Path]:
        """``{choice: file}``; a user's file with the name of one of ours is an error, since one would shadow the other."""
        ours = choices(group, conf_dir())
        theirs = choices(group, self.own)
        if clash := sorted(set(ours) & set(theirs)):
            raise ConfigError([f"{theirs[name]}: {group}={name} is a file of ours; rename yours" for name in clash])
        return {**ours, **theirs}

    def chosen(self, picked: Mapping[str, Any]) -> list[KeyFile]:
        """The files behind the choices `picked`, ``{group: choice or list of choices}``."""
        files = []
        for group, choice in picked.items():
            known = self.choices(group)
            files += [read_keys(known[name], group) for name in _names(choice) if name in known]
        return files

    def known(self, picked: Mapping[str, Any]) -> dict[str, Key]:
        """Every key that the command reads under the choices `picked`.

        A user's own file adds no key of its own to a group: it may set what our files of that group set. An experiment adds
        none at all, so that a key misspelt in one is found.
        """
        known = dict(self.primary.keys)
        for group, choice in picked.items():
            if group == "experiment":
                continue
            ours = choices(group, conf_dir())
            names = _names(choice)
            if any(name.startswith("[") for name in names):
                names = [part.strip() for name in names for part in name.strip("[]").split(",")]
            files = names if all(name in ours for name in names) else list(ours)
            for name in files:
                for key in read_keys(ours[name], group).keys.values():
                    if group != "task" or key.name.startswith("task."):
                        known.setdefault(key.name, key)
        return known

    def elsewhere(self, key: str) -> list[str]:
        """Choices, ``data=streets``, whose files have `key` although those chosen have not."""
        group = key.partition(".")[0]
        if group not in self.groups:
            return []
        return [f"{group}={name}" for name, path in self.choices(group).items() if key in read_keys(path, group).keys]


def _names(choice: Any) -> list[str]:
    if choice is None:
        return []
    return (
        [str(name) for name in choice]
        if isinstance(choice, Iterable) and not isinstance(choice, str)
        else [str(choice)]
    )
