"""What the configuration files say about their keys: kinds, defaults and explanations, read from their comments.

The YAML files are the one place where a key is described: this reader serves ``--help``, the check of words and values, and
the quoting (text is quoted, numbers are not).
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from effdet.cli.errors import ConfigError
from effdet.cli.kinds import Kind, Kinds, guess_kinds, parse_kinds

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Key:
    """One settable key of a configuration file."""

    name: str
    """Dotted, as it is written on the command line."""
    kinds: Kinds | None
    """What it may be; None where the file doesn't say and the default doesn't tell."""
    default: str
    """As written in the file."""
    text: str
    """One line of explanation, or nothing."""
    file: Path
    written: bool = False
    """Whether the file names the kinds; else they are guessed from the default."""


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
    keys = {} if root is None else {key.name: key for key in _walk(root, package, lines, path)}
    return KeyFile(path, _title(lines), keys)


def _walk(node: yaml.MappingNode, prefix: str, lines: list[str], path: Path) -> Iterator[Key]:
    for name, value in node.value:
        if name.value == "defaults" and node.start_mark.line == name.start_mark.line and not prefix.count("."):
            if isinstance(value, yaml.SequenceNode):
                continue
        dotted = f"{prefix}.{name.value}" if prefix else name.value
        kinds, text = _comments(lines, name.start_mark.line, value)
        is_open = kinds is not None and any(kind.base == "{}" for kind in kinds)
        if isinstance(value, yaml.MappingNode) and value.value and not is_open:
            yield from _walk(value, dotted, lines, path)
        else:
            yield Key(dotted, kinds or _guess(value), _written(value, lines), text, path, kinds is not None)


def _guess(node: yaml.Node) -> Kinds | None:
    if isinstance(node, yaml.MappingNode):
        return (Kind("{}"),)
    plain = isinstance(node, yaml.ScalarNode) and not node.style  # "" with libyaml, None without
    if plain and node.value.lower() in ("true", "false"):
        return guess_kinds(node.value.lower() == "true")
    if plain and re.fullmatch(r"[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?", node.value):
        return guess_kinds(float(node.value.replace("_", "")))
    return None


def _comments(lines: list[str], line: int, value: yaml.Node) -> tuple[Kinds | None, str]:
    """Kinds and explanation: the comment behind the value, after that the lines above the key."""
    end = value.end_mark if value.end_mark.line == line else None
    tail = lines[line][end.column :] if end else lines[line].partition(":")[2]
    behind = tail.partition("#")[2].strip()
    above: list[str] = []
    row = line - 1
    while row >= 0 and (stripped := lines[row].strip()).startswith("#") and not stripped.startswith("# ---"):
        above.insert(0, stripped.lstrip("#").strip())
        row -= 1
    alone = row < 0 or not lines[row].strip()
    if row < 0 or (alone and behind):
        above = []  # the file's own opening comment, or the heading of a block of keys
    head, _, explanation = behind.partition(": ")
    kinds = parse_kinds(head.rstrip(":")) if behind else None
    if kinds is None:
        explanation = behind
    return kinds, " ".join([*above, explanation]).strip()


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
