"""The keys of each command: what the settings classes declare of them, and the files with their groups, choices and values.

Type, range, meaning and default are read from the source text of the dataclasses. Nothing that is read is imported: the
annotations are literals of the grammar of :mod:`heads.fields`, the string below a field is its meaning. Values stand in
``conf/`` and in the user's own files. Both together serve ``--help``, the check of overrides and values, and the quoting
(text is quoted, numbers are not).
"""

from __future__ import annotations

import ast
import codecs
import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from effdet.cli import MODULES
from effdet.cli.overrides import ConfigError, quote
from heads.fields import NULL, TARGET, Kind, Kinds, kinds_of

PARTS = ("matcher", "class_loss", "box_loss", "kit")
"""Parts of a head that a ``_target_`` may fill."""
SLOTS = re.compile(rf"data|optimizer|backbone|head\.\w+(\.({'|'.join(PARTS)}))?")
"""Sections that a ``_target_`` may fill; below one, all keys are the user's own but for those of :data:`SHARED`."""
SHARED = {
    "data": "name labels val_fraction unreadable unlabelled unlabelled_ratio resize default_epochs repeat_threshold",
    "optimizer": "name lr base_batch_size weight_decay backbone_lr_scale layer_decay "
    "schedule flat warmup_epochs warmup_steps warmup_from final milestones gamma",
    "backbone": "name",
}
"""Keys of a group that keep their meaning beside a ``_target_``; the others of our files are left out."""


@dataclass(frozen=True)
class Schema:
    """The configuration files that a command is composed from.

    Args:
        name: of the primary file, without ``.yaml``.
        own: the user's folder, or None.
        extended: the name of the user's own primary file in `own`, which extends ours; or None.
    """

    name: str
    own: Path | None = None
    extended: str | None = None

    @functools.cached_property
    def primary(self) -> KeyFile:
        return read_keys(conf_dir() / f"{self.name}.yaml")

    @functools.cached_property
    def groups(self) -> dict[str, Any]:
        """``{group: default choice}`` in the order of the primary's defaults list."""
        return self.primary.groups

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

    def known(self, picked: Mapping[str, Any], slots: Collection[str] = ()) -> dict[str, Key]:
        """Every key that the command reads under the choices `picked`.

        A user's own file adds no key of its own to a group: it may set what our files of that group set. An experiment adds
        none at all, so that a key misspelt in one is found. Only the sections `slots` (:meth:`slots`) take any key.
        """
        known = dict(self.primary.keys)
        for group, choice in picked.items():
            if group == "experiment":
                continue
            ours = choices(group, conf_dir())
            names = _names(choice)
            if any(name.startswith("[") for name in names):
                names = [part.strip() for name in names for part in name.strip("[]").split(",")]
            files = names if all(name in ours for name in names) and group not in slots else list(ours)
            for name in files:
                for key in read_keys(ours[name], group).keys.values():
                    if group in slots and key.name not in shared(group):
                        continue
                    if group != "task" or key.name.startswith("task."):
                        free = group in slots and key.name == f"{group}.name"
                        known.setdefault(key.name, key._replace(kinds=(Kind("str"),)) if free else key)
        for slot in slots:
            known[slot] = Key(slot, (Kind("{}"),), "", "arguments of its _target_", self.primary.path)
        return known

    def slots(self, picked: Mapping[str, Any], overrides: Iterable[str]) -> list[str]:
        """Sections with a ``_target_``, by the chosen files and by the keys `overrides`."""
        named = [*overrides, *(key for file in self.chosen(picked) for key in file.keys)]
        sections = [name.removesuffix(f".{TARGET}") for name in named if name.endswith(f".{TARGET}")]
        return [section for section in dict.fromkeys(sections) if SLOTS.fullmatch(section)]

    def fill(
        self, picked: Mapping[str, Any], slots: Collection[str], overrides: Mapping[str, str]
    ) -> tuple[list[str], list[str]]:
        """For groups that a ``_target_`` fills: what our chosen file says of something else goes (unless the user sets it too),
        and a name is given where the user gives none.

        Args:
            picked: the choices made.
            slots: of :meth:`slots`.
            overrides: the user's values by key.

        Returns:
            Hydra's overrides, and keys to take out of the composed tree: Hydra deletes none that is null, nor the sections
            that are left empty.
        """
        found, nulls = [], []
        for group in slots:
            if group.startswith("head.") and group.count(".") == 1:
                ours = set(choices("head", conf_dir()).values())
                files = self.chosen(picked)
                theirs = {key for file in files if file.path not in ours for key in file.keys} | set(overrides)
                own = [key for file in files if file.path in ours for key in file.keys]
                nulls += [key for key in own if key.startswith(f"{group}.") and key not in theirs]
            if group not in self.groups or isinstance(self.groups[group], list):
                continue
            name, ours = str(picked.get(group)), choices(group, conf_dir()).get(str(picked.get(group)))
            files = [file for file in self.chosen(picked) if file.path != ours]
            theirs = {key: entry.default for file in files for key, entry in file.keys.items()} | dict(overrides)
            if ours is not None:
                kept = shared(group) - ({"data.labels", "data.default_epochs"} if group == "data" else set())
                for key, entry in read_keys(ours, group).keys.items():
                    if key not in kept and key not in theirs:
                        found, nulls = (
                            ([*found, f"~{key}"], nulls) if entry.default != "null" else (found, [*nulls, key])
                        )
                parts = theirs[f"{group}.{TARGET}"].strip("'\"").split(".")
                name = parts[-2] if group == "data" and len(parts) > 1 else parts[-1]
            if f"{group}.name" not in theirs:
                found.append(f"++{group}.name={quote(name)}")
        return found, nulls

    def elsewhere(self, key: str) -> list[str]:
        """Choices, ``data=streets``, whose files have `key` although those chosen have not."""
        group = key.partition(".")[0]
        if group not in self.groups:
            return []
        return [f"{group}={name}" for name, path in self.choices(group).items() if key in read_keys(path, group).keys]


def shared(group: str) -> set[str]:
    """The keys of :data:`SHARED`, dotted."""
    return {f"{group}.{key}" for key in SHARED.get(group, "").split()}


def _names(choice: Any) -> list[str]:
    if choice is None:
        return []
    return (
        [str(name) for name in choice]
        if isinstance(choice, Iterable) and not isinstance(choice, str)
        else [str(choice)]
    )


@functools.cache
def conf_dir() -> Path:
    """The repository's ``conf/`` when it stands beside ``effdet/``, else the copy inside the installed package.

    The repository comes first, since an editable install must never read a stale copy.
    """
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "conf"
    return beside if (beside / "train.yaml").is_file() else package / "conf"


BACKBONES = {
    **{f"b{phi}": (f"EfficientNet-B{phi}", f"EfficientDet-D{phi}") for phi in range(7)},
    **{f"{name}": (f"EfficientNet-{name.upper()}", "EfficientDet-D7x") for name in ("b7", "b8", "l2")},
    **{f"lite{phi}": (f"EfficientNet-Lite{phi}", f"EfficientDet-Lite{phi}") for phi in range(5)},
    **{f"v2_b{phi}": (f"EfficientNetV2-B{phi}", f"EfficientDet-D{phi}") for phi in range(4)},
    **{f"v2_{size}": (f"EfficientNetV2-{size.upper()}", f"EfficientDet-{d}")
       for size, d in (("s", "D4"), ("m", "D5"), ("l", "D6"), ("xl", "D6"))},
    **{f"v2_rw_{size}": (f"timm's EfficientNetV2 rw_{size}", f"efficientdetv2_{d}")
       for size, d in (("t", "dt"), ("s", "ds"), ("m", "ds"))},
}  # fmt: skip
"""The choices of ``backbone=`` that are alike but for the name: (network, the detector whose neck and heads go with it)."""


BACKBONE_OPTIONS = ("attention", "drop_path", "activation", "padding")
"""Keys of each of them beside ``name``; null."""


def text_of(path: Path) -> str:
    """The text of a configuration file, or of a choice of ours that has none."""
    if path.stem in BACKBONES and path.parent == conf_dir() / "backbone":
        network, detector = BACKBONES[path.stem]
        nulls = "".join(f"{key}: null\n" for key in BACKBONE_OPTIONS)
        return f"# {network}; with neck and heads, {detector}.\nname: {path.stem}\n{nulls}"
    return path.read_text(encoding="utf-8-sig")


def choices(group: str, *directories: Path | None) -> dict[str, Path]:
    """``{choice: file}`` of a group, in natural order (b2 before b10); see :func:`text_of`."""
    found = {
        path.stem: path
        for directory in directories
        if directory is not None
        for path in (directory / group).glob("*.yaml")
        if not path.name.startswith(("_", "."))
    }
    if group == "backbone" and conf_dir() in directories:
        found |= {name: conf_dir() / group / f"{name}.yaml" for name in BACKBONES}
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    parts: list[tuple[int, str]] = []
    for letter in name:
        if letter.isdigit() and parts and parts[-1][0] >= 0:
            parts[-1] = (parts[-1][0] * 10 + int(letter), "")
        else:
            parts.append((int(letter), "") if letter.isdigit() else (-1, letter))
    return tuple(parts)


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)\s*$", re.MULTILINE)


class Key(NamedTuple):
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


class KeyFile(NamedTuple):
    """The keys of one file."""

    path: Path
    title: str
    """The first line of the file's opening comment."""
    keys: dict[str, Key]
    groups: dict[str, Any]
    """``{group: choice or list of choices}`` of its defaults list."""


def unreadable(directory: Path) -> list[str]:
    """One line for each configuration file below `directory` that Hydra cannot read: it takes plain UTF-8."""
    problems = []
    for path in sorted(directory.rglob("*.yaml")):
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
    state = path.stat() if path.exists() else None
    return _read_keys(path, group, (state.st_mtime_ns, state.st_size) if state else (0, 0))


@functools.lru_cache(maxsize=512)
def _read_keys(path: Path, group: str, version: tuple[int, int]) -> KeyFile:
    """`version` is part of the cache's key: in a notebook, files change between two trainings."""
    text = text_of(path)
    lines = text.splitlines()
    package = match[1] if (match := _PACKAGE.search(text)) else group.replace("/", ".")
    package = "" if package == "_global_" else package
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{path}: a configuration file holds keys and values, this one holds something else"])
    command = "train" if group else path.stem
    fields = fields_of(MODULES[command], command.capitalize())
    keys = {} if root is None else {key.name: key for key in _walk(root, package, lines, path, fields)}
    comments = (line.lstrip("#").strip() for line in lines if line.startswith("#"))
    title = next((line for line in comments if line and not line.startswith("@package")), "")
    return KeyFile(path, title, keys, {} if root is None else _groups(root))


def _groups(root: yaml.MappingNode) -> dict[str, Any]:
    defaults = next((node.value for name, node in root.value if name.value == "defaults"), [])
    entries = (entry for node in defaults if isinstance(node, yaml.MappingNode) for entry in node.value)
    found: dict[str, Any] = {}
    for group, node in entries:
        is_list = isinstance(node, yaml.SequenceNode)
        found[group.value] = (
            [item.value for item in node.value] if is_list else None if node.tag.endswith(":null") else node.value
        )
    return found


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
            line, one_line = lines[name.start_mark.line], value.start_mark.line == value.end_mark.line
            behind = line[value.end_mark.column :] if one_line else line.partition(":")[2]
            remark = behind.partition("#")[2].strip()
            yield Key(dotted, kinds, _written(value, lines), meaning, path, remark)


def _written(node: yaml.Node, lines: list[str]) -> str:
    if isinstance(node, yaml.ScalarNode):
        return node.value or "null"
    start, end = node.start_mark, node.end_mark
    return lines[start.line][start.column : end.column] if start.line == end.line else "…"


_ROOT = Path(__file__).resolve().parents[2]
AUTO = Kind("literal", literal="auto")
_IMPORT = re.compile(r"^(?:    )?from ((?:effdet|heads|backbones)[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)
_CLASS = re.compile(r'^class (\w+)(?:\(([^)]*)\))?:\n(?:    """(?s:.*?)"""\n)?((?: .*\n|\n)*)', re.MULTILINE)
_FIELD = re.compile(r'^    (\w+): (.*(?:\n(?:     |    [\])]).*)*)\n(?:    """((?s:.*?))""")?', re.MULTILINE)
_SECTION = re.compile(r"(?:(\w+)\[)?(\w+)\]?")
_PYTHON = re.compile(r"\b(None|True|False)\b")
_AS_YAML = {"None": "null", "True": "true", "False": "false"}


class Field(NamedTuple):
    """One field of a settings dataclass."""

    kinds: Kinds
    text: str
    """Its meaning, in one line, or nothing."""
    source: str = ""
    """Of the default, as it is written, or nothing."""

    @property
    def default(self) -> Any:
        """The literal default.

        Raises:
            LookupError: there is none, or one that is made by code.
        """
        try:
            return ast.literal_eval(self.source)
        except (SyntaxError, ValueError):
            raise LookupError(f"{self.source!r} is not a literal") from None


@functools.cache
def fields_of(module: str, name: str) -> dict[str, Field]:
    """The fields of a class by dotted key, those of its bases and sections included.

    Args:
        module: dotted; in the packages ``effdet``, ``heads`` or ``backbones``.
        name: of the class.

    Raises:
        LookupError: there is no such class.
    """
    classes, imports = _read(module)
    if name not in classes:
        if name in imports:
            return fields_of(imports[name], name)
        raise LookupError(f"{module} has no class {name}")
    bases, body = classes[name]
    inherited: dict[str, Field] = {}
    for base in re.findall(r"\w+", bases):
        if base in classes or base in imports:
            inherited |= fields_of(module, base)
    found: dict[str, Field] = {}
    for key, statement, text in _FIELD.findall(body):
        annotation, _, default = statement.partition(" = ")
        if inherited:
            inherited = {other: field for other, field in inherited.items() if not other.startswith(f"{key}.")}
        wrapper, section = match.groups() if (match := _SECTION.fullmatch(annotation)) else (None, "")
        if section in classes or section in imports:
            inner = fields_of(module, section)
            found |= {f"{key}.{rest}": _wrapped(field, wrapper) for rest, field in inner.items()}
        elif (kinds := _kinds(annotation)) is not None:
            text = _PYTHON.sub(lambda word: _AS_YAML[word[0]], " ".join(text.replace("``", "`").split()))
            found[key] = Field(kinds, text, default)
    return inherited | found


def _wrapped(field: Field, wrapper: str | None) -> Field:
    """A key of a section, which null leaves as it is in ``Scaled[…]`` and ``Overrides[…]``, and auto in ``FromRecipe[…]``;
    ``Overrides[…]`` shows its default."""
    if wrapper is None:
        return field
    if wrapper == "FromRecipe":
        return field._replace(kinds=field.kinds if AUTO in field.kinds else (*field.kinds, AUTO), source="")
    kinds = field.kinds if NULL in field.kinds else (*field.kinds, NULL)
    try:
        default = field.default if wrapper == "Overrides" else None
    except LookupError:
        default = None
    if default is None:
        return field._replace(kinds=kinds)
    default = str(default).lower() if isinstance(default, bool) else default
    default = str(list(default)).replace("(", "[").replace(")", "]") if isinstance(default, tuple) else default
    return Field(kinds, f"{field.text} null: {default}.".strip())


@functools.cache
def _kinds(annotation: str) -> Kinds | None:
    return kinds_of(ast.parse(annotation, mode="eval").body)


@functools.cache
def _read(module: str) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """``{class: (bases, body)}`` of a module, and ``{imported name: its module}`` of names of ours."""
    path = _ROOT.joinpath(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    imports = {name: home for home, names in _IMPORT.findall(source) for name in re.findall(r"\w+", names)}
    return {name: (bases, body) for name, bases, body in _CLASS.findall(source)}, imports
