"""The keys of the configuration files: what they may be and mean is declared by dataclasses (:mod:`effdet.cli.declared`), their
values stand in the files. This reader serves ``--help``, the check of overrides and values, and the quoting (text is quoted,
numbers are not).
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from effdet.cli.declared import Field, declared
from effdet.cli.errors import ConfigError
from heads.fields import Kinds

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Key:
    """One settable key of a configuration file."""

    name: str
    """Dotted, as it is written on the command line."""
    kinds: Kinds | None
    """What it may be; None for a key that nothing declares."""
    default: str
    """As written in the file."""
    meaning: str
    """One line, or nothing."""
    file: Path
    remark: str = ""
    """The comment behind the value: what it says of this file's choice."""


@dataclass(frozen=True)
class KeyFile:
    """The keys of one file."""

    path: Path
    title: str
    """The first line of the file's opening comment."""
    keys: dict[str, Key]


def unreadable(folder: Path) -> list[str]:
    """One line for each configuration file below `folder` that Hydra cannot read: it takes plain UTF-8."""
    problems = []
    for path in sorted(folder.rglob("*.yaml")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        try:
            content.decode()
        except UnicodeDecodeError as error:
            at = error.start
            problems.append(f"{path}: byte {content[at]:#04x} at position {at} is not UTF-8: save the file as UTF-8")
            continue
        if content.startswith(codecs.BOM_UTF8) and b"@package" in content:
            problems.append(f"{path}: its byte order mark hides the line @package: save the file as UTF-8 without it")
    return problems


def read_keys(path: Path, group: str = "") -> KeyFile:
    """Reads a configuration file of `group` (nothing for a primary one)."""
    state = path.stat()
    return _read_keys(path, group, (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=512)
def _read_keys(path: Path, group: str, version: tuple[int, int]) -> KeyFile:
    """`version` is part of the cache's key: in a notebook, files change between two trainings."""
    text = path.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    package = match[1] if (match := _PACKAGE.search(text)) else group.replace("/", ".")
    package = "" if package == "_global_" else package
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {_one_line(error)}"]) from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{path}: a configuration file holds keys and values, this one holds something else"])
    fields = declared("train" if group else path.stem)
    keys = {} if root is None else {key.name: key for key in _walk(root, package, lines, path, fields)}
    return KeyFile(path, _title(lines), keys)


def _walk(
    node: yaml.MappingNode, prefix: str, lines: list[str], path: Path, fields: Mapping[str, Field]
) -> Iterator[Key]:
    for name, value in node.value:
        if name.value == "defaults" and node.start_mark.line == name.start_mark.line and not prefix.count("."):
            if isinstance(value, yaml.SequenceNode):
                continue
        dotted = f"{prefix}.{name.value}" if prefix else name.value
        field = fields.get(dotted)
        is_open = field is not None and any(kind.base == "{}" for kind in field.kinds)
        if isinstance(value, yaml.MappingNode) and value.value and not is_open:
            yield from _walk(value, dotted, lines, path, fields)
        else:
            kinds, meaning = (None, "") if field is None else (field.kinds, field.text)
            remark = _remark(lines[name.start_mark.line], value)
            yield Key(dotted, kinds, _written(value, lines), meaning, path, remark)


def _remark(line: str, value: yaml.Node) -> str:
    """The comment behind a value that ends on its key's line."""
    one_line = value.start_mark.line == value.end_mark.line
    behind = line[value.end_mark.column :] if one_line else line.partition(":")[2]
    return behind.partition("#")[2].strip()


def _written(node: yaml.Node, lines: list[str]) -> str:
    if isinstance(node, yaml.ScalarNode):
        return node.value or "null"
    start, end = node.start_mark, node.end_mark
    return lines[start.line][start.column : end.column] if start.line == end.line else "…"


def _title(lines: list[str]) -> str:
    comments = (line.lstrip("#").strip() for line in lines if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("@package")), "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
