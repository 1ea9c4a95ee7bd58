"""A composed configuration: plain values that cannot be changed, read by attribute or by dotted key."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from effdet.addresses import is_address, shown_values, without_credentials
from effdet.cli.errors import ConfigError
from effdet.renamed import renew


class Config:
    """Nested values, resolved and literal (``${…}`` in a path is just text by now).

    Args:
        values: the nested mapping; copied.
        choices: which file each group was filled from, ``{"data": "coco", "head": ["detection"]}``.
    """

    def __init__(self, values: Mapping[str, Any], choices: Mapping[str, Any] | None = None) -> None:
        self._values = copy.deepcopy(dict(values))
        self._choices = dict(choices or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            value = self._values[name]
        except KeyError:
            raise AttributeError(f"the configuration has no key {name!r}") from None
        return Config(value) if isinstance(value, dict) else copy.copy(value)

    def __repr__(self) -> str:
        return f"Config({self._values!r})"

    @property
    def choices(self) -> dict[str, Any]:
        return dict(self._choices)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted `key`, a section as a dict; `default` where it is absent."""
        value: Any = self._values
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return copy.deepcopy(value)

    def flat(self) -> dict[str, Any]:
        """``{dotted key: value}`` of every leaf, in the order of the files."""
        return dict(leaves(self._values))

    def replacing(self, values: Mapping[str, Any]) -> Config:
        """A copy with the leaves of `values` (dotted keys) set."""
        nested = copy.deepcopy(self._values)
        for key, value in values.items():
            *path, last = key.split(".")
            node = nested
            for part in path:
                if not isinstance(node.get(part), dict):
                    node[part] = {}  # a section in place of a value: a schedule of the user's own for one of ours
                node = node[part]
            node[last] = copy.deepcopy(value)
        return Config(nested, self._choices)

    def without(self, keys: Iterable[str]) -> Config:
        """A copy without the leaves `keys` (dotted), and without the sections that they leave empty."""
        nested = copy.deepcopy(self._values)
        for key in keys:
            *path, last = key.split(".")
            nodes = [nested]
            for part in path:
                nodes.append(nodes[-1][part])
            del nodes[-1][last]
            for depth in range(len(path), 0, -1):
                if not nodes[depth]:
                    del nodes[depth - 1][path[depth - 1]]
        return Config(nested, self._choices)

    @property
    def has_addresses(self) -> bool:
        return any(isinstance(value, str) and is_address(value) for value in self.flat().values())

    def restored(self, asked: Config) -> Config:
        """A copy of this saved configuration with the credentials that `asked` has for its addresses."""
        own, passed = self.flat(), asked.flat()
        pairs = ((key, value, passed.get(key)) for key, value in own.items())
        return self.replacing(
            {key: new for key, value, new in pairs if isinstance(new, str) and value == without_credentials(new) != new}
        )

    def to_dict(self) -> dict[str, Any]:
        return copy.deepcopy(self._values)

    def to_yaml(self) -> str:
        """As it is shown and kept: addresses without their credentials."""
        return yaml.safe_dump(shown_values(self._values), sort_keys=False, allow_unicode=True, width=10_000)

    @classmethod
    def from_yaml(cls, text: str, *, origin: str | Path = "config.yaml") -> Config:
        """Reads what :meth:`to_yaml` wrote. Nothing in it is interpolated."""
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError([f"{origin}: not valid YAML: {' '.join(str(error).split())}"]) from None
        if not isinstance(values, dict):
            raise ConfigError([f"{origin}: not a saved configuration"])
        return cls(renew(values))


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each leaf; an empty mapping is a leaf."""
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict) and value:
            yield from leaves(value, key)
        else:
            yield key, value


def as_size(size: Any) -> int | tuple[int, int] | None:
    """An ``image_size`` as it is written, a side or [height, width] in pixels, as functions take it."""
    return (size[0], size[1]) if isinstance(size, list) else size
