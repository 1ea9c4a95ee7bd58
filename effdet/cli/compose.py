"""Composes ``conf/`` with the user's overrides through Hydra, and finds all that is wrong with either before anything runs.

Precedence: the command line beats the experiment, which beats the primary file, which beats the task, which beats the other
groups. Hydra would stop at the first mistake and add a key that a file misspells; here every override and every leaf of the
composed tree is compared with what our files describe, and all problems are reported at once.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effdet.cli.config import Config, leaves
from effdet.cli.overrides import (
    ConfigError,
    Override,
    Overrides,
    did_you_mean,
    expand,
    quote,
    require_dir,
    shape,
    split_choices,
)
from effdet.cli.schema import BACKBONE_OPTIONS, BACKBONES, PARTS, Key, Schema, conf_dir, read_keys, unreadable
from effdet.renamed import new_name
from heads.fields import TARGET, admits, describe, textual, usable

PATH_KEYS = ("model", "weights", "teacher", "source", "out", "run_dir", "resume", "first", "second")
"""Values of these keys, of ``data.*`` and of ``*.path`` are paths, whatever a user's own file leaves unsaid."""


def compose(name: str, asked: Overrides) -> Config:
    """The checked configuration of the command `name`, with the overrides that Hydra was given.

    Raises:
        ConfigError: with every problem of the overrides and of the files they choose.
    """
    require_dir(asked.config_dir)
    if asked.config_dir is not None and (faulty := unreadable(asked.config_dir)):
        raise ConfigError(faulty)
    schema = Schema(name, asked.config_dir, asked.config_name)
    problems = list(asked.problems)
    group_overrides = [item for item in asked.items if item.key in schema.groups]
    value_overrides = [item for item in asked.items if item.key not in schema.groups]

    overrides = []
    for item in group_overrides:
        override, wrong = _group_override(item, schema)
        problems += wrong
        if not wrong:
            overrides.append(override)
    found = None if problems else _composed_at_once(schema, overrides, group_overrides, value_overrides)
    if found is None:
        found = _composed_with_care(schema, overrides, value_overrides, problems)
    tree, choices, known, passed = found
    problems += _unknown_in_files(tree, known, schema, choices)
    problems += [*_wrong_kinds(tree, known), *_wrong_names(tree, schema, choices)]
    if problems:
        raise ConfigError(problems)
    return Config(tree, choices, passed)


Found = tuple[dict[str, Any], dict[str, Any], dict[str, Key], list[str]]
"""The composed tree, the choice made in each group, the keys known under these choices, and Hydra's overrides."""


def _composed_at_once(
    schema: Schema, overrides: list[str], group_overrides: Sequence[Override], value_overrides: Sequence[Override]
) -> Found | None:
    """The usual case in half the time: no mistake in the overrides, and no file that changes what their keys mean.

    None where that turns out wrong: :func:`_composed_with_care` then finds out what it is.
    """
    picked = {**schema.groups, **{item.key: item.value for item in group_overrides}}
    values = {item.key: item.value for item in value_overrides}
    guess = schema.known(picked, slots := schema.slots(picked, values))
    for item in value_overrides:
        override, wrong = _value_override(item, guess, schema, {})
        if wrong:
            return None
        overrides = [*overrides, override]
    try:
        filled, nulls = schema.fill(picked, slots, values)
        overrides = [*overrides, *filled]
        tree, choices = _run_hydra(schema, overrides, nulls)
    except ConfigError:
        return None
    known = schema.known(choices, schema.slots(choices, values))
    if any(_key_of(item.key, known) != _key_of(item.key, guess) for item in value_overrides):
        return None
    return tree, choices, known, overrides


def _composed_with_care(
    schema: Schema, overrides: list[str], value_overrides: Sequence[Override], problems: list[str]
) -> Found:
    """First only the groups, which say what keys there are; then the overrides that hold."""
    try:
        tree, choices = _run_hydra(schema, overrides)
        values = {item.key: item.value for item in value_overrides}
        known = schema.known(choices, slots := schema.slots(choices, values))
        valid, nulls = schema.fill(choices, slots, values)
        for item in value_overrides:
            override, wrong = _value_override(item, known, schema, choices)
            problems += wrong
            if not wrong:
                valid.append(override)
        if valid:
            overrides = [*overrides, *valid]
            tree, choices = _run_hydra(schema, overrides, nulls)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    return tree, choices, known, overrides


def swept_overrides(name: str, asked: Overrides) -> list[str]:
    """The overrides of many runs as overrides for Hydra's sweeper: unquoted commas separate choices, also of paths.

    They only say which jobs there are. Each job is composed from its own overrides; keys that our files lack are added here.
    """
    schema = Schema(name, asked.config_dir)
    named = {item.key: swept_values(item.value)[0] for item in asked.items if item.key in schema.groups}
    known = schema.known({**schema.groups, **named})
    return [_swept_override(item, known, schema) for item in asked.items]


def swept_values(value: str) -> list[str]:
    """The choices of an override under ``-m``; a function of Hydra's grammar, ``range(0,3)``, is one text."""
    return [value] if _FUNCTION.fullmatch(value.strip()) else split_choices(value)


_FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|int|float|str|bool|json_str|extend_list)\(.*\)")


def _swept_override(item: Override, known: Mapping[str, Key], schema: Schema) -> str:
    values = swept_values(item.value)
    if item.key in schema.groups:
        return f"{item.key}={','.join(values)}"
    key = _key_of(item.key, known)
    if not (len(values) == 1 and _FUNCTION.fullmatch(values[0].strip())):
        values = [_as_short(_protected(Override(item.key, value), key), value) for value in values]
    return f"{'' if item.key in known else '++'}{item.key}={','.join(values)}"


def _as_short(protected: str, value: str) -> str:
    """Without quotes where Hydra reads the same without them: names of folders are made of overrides."""
    return value if protected == f"'{value}'" and re.fullmatch(r"[A-Za-z_./][\w./-]*", value) else protected


def _group_override(item: Override, schema: Schema) -> tuple[str, list[str]]:
    known = schema.choices(item.key)
    value = item.value.strip()
    if value in ("", "null"):
        if schema.groups[item.key] is None:
            return f"{item.key}=null", []
        return "", [f"{item}: {item.key} needs a choice: {', '.join(known)}"]
    is_list = value.startswith("[") and value.endswith("]")
    names = [name.strip() for name in value[1:-1].split(",")] if is_list else [value]
    if is_list and not isinstance(schema.groups[item.key], list):
        return "", [f"{item}: {item.key} takes one choice, not a list"]
    wrong = [
        f"{item.key}={name}: no such choice{did_you_mean(name, known)} ({item.key}: {', '.join(known)})"
        for name in names
        if name not in known
    ]
    wants_list = isinstance(schema.groups[item.key], list)
    return f"{item.key}={'[' + ','.join(names) + ']' if wants_list else value}", wrong


def _value_override(
    item: Override, known: Mapping[str, Key], schema: Schema, choices: Mapping[str, Any]
) -> tuple[str, list[str]]:
    key = _key_of(item.key, known)
    if key is None:
        line = _no_such_key(item.key, known, schema, choices)
        return "", [f"+{line}; a key is added only below a {TARGET} or in an open mapping" if item.adds else line]
    inside = _open_parent(item.key, known) is not None
    if item.adds and not inside:
        return "", [f"+{item}: there is such a key already; write {item}"]
    override = f"{'++' if inside else ''}{item.key}={_protected(item, key)}"
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return "", [
            f"{item}: the value could not be read; text with special characters needs quotes: {item.key}='\"…\"'"
        ]
    if parsed.is_sweep_override():
        return "", [f"{item}: one value at a time; a list is written [a,b]"]
    return override, []


def _key_of(name: str, known: Mapping[str, Key]) -> Key | None:
    """The key of that name, or the mapping of free keys that it lies in."""
    return known.get(name) or _open_parent(name, known)


def _open_parent(name: str, known: Mapping[str, Key]) -> Key | None:
    """The mapping of free keys that `name` lies in."""
    parents = (known.get(name[:index]) for index, letter in enumerate(name) if letter == ".")
    return next((key for key in parents if key and key.kinds and any(kind.base == "{}" for kind in key.kinds)), None)


def _protected(item: Override, key: Key | None) -> str:
    """The value as Hydra is to see it: text quoted, numbers and lists as they are."""
    kinds = key.kinds if key else None
    path_like = item.key in PATH_KEYS or item.key.startswith("data.") or item.key.endswith(".path")
    looks = shape(item.value)
    if kinds is None or (key is not None and key.name != item.key):
        text = looks == "text" and (path_like or key is not None)
        return quote(expand(item.value)) if text else item.value
    bases = {kind.base for kind in kinds}
    literal = {
        "null": {"null"},
        "bool": {"bool"},
        "number": {"int", "float"},
        "list": {"list"},
        "dict": {"{}"},
        "text": set(),
    }
    if bases & literal[looks] or not textual(kinds):
        return item.value
    return quote(expand(item.value) if "path" in bases else item.value)


def _no_such_key(name: str, known: Mapping[str, Key], schema: Schema, choices: Mapping[str, Any]) -> str:
    if name.endswith(f".{TARGET}"):
        hint = did_you_mean(name.removesuffix(f".{TARGET}").rpartition(".")[2], PARTS)
        return (
            f"{name}: no {TARGET} is read here; one fills data, optimizer, backbone, head.NAME or a part of a head, "
            f"head.NAME.{'|'.join(PARTS)}{hint}"
        )
    if (new := new_name(name)) is not None and (new in known or schema.elsewhere(new)):
        return f"{name}: renamed to {new}"
    inside = [key for key in known if key.startswith(f"{name}.")]
    if inside:
        return f"{name}: holds several keys; name one of {', '.join(inside)}"
    if elsewhere := schema.elsewhere(name):
        group = name.partition(".")[0]
        return f"{name}: {group}={choices.get(group)} has no such key, {' and '.join(elsewhere[:3])} has"
    return f"{name}: no such key{did_you_mean(name, [*known, *schema.groups])} (effdet {schema.name} --help lists all)"


def _run_hydra(
    schema: Schema, overrides: list[str], without: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Composes; returns the plain resolved tree, without the keys `without`, and the choice made in each group."""
    try:
        with warnings.catch_warnings(), hydra_over(schema.own):
            warnings.simplefilter("ignore")
            config = hydra_compose(schema.extended or schema.name, overrides=overrides, return_hydra_config=True)
        choices = OmegaConf.to_container(config.hydra.runtime.choices)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError([in_one_line(error)]) from error
    assert isinstance(tree, dict) and isinstance(choices, dict)
    plain = {str(group): choice for group, choice in choices.items() if not str(group).startswith("hydra/")}
    # Hydra records no choice for a group that takes a list (`head`): it is read from the sections that it filled.
    lists = {group: list(tree.get(group, {})) for group, choice in schema.groups.items() if isinstance(choice, list)}
    values = {str(key): value for key, value in tree.items()}
    return Config(values).without(without).to_dict() if without else values, {**lists, **plain}


class _Backbones(dict[str, Any]):
    """Hydra's configurations of the choices that have no file, each made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        values = {"name": name.removesuffix(".yaml"), **dict.fromkeys(BACKBONE_OPTIONS)}
        return ConfigNode(name, OmegaConf.create(values), "backbone", package=None, provider=None)


@contextlib.contextmanager
def hydra_over(own: Path | None, *, job: str = "app") -> Iterator[Hydra]:
    """Hydra over ``conf/`` and the user's folder `own`, as the global one within the block."""
    ConfigStore.instance().repo["backbone"] = _Backbones.fromkeys(f"{name}.yaml" for name in BACKBONES)
    before = GlobalHydra.instance().hydra
    version.setbase("1.3")
    path = create_config_search_path(str(conf_dir()))
    if own is not None:
        path.prepend("command-line", f"file://{own}", anchor=SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2(task_name=job, config_search_path=path)
    finally:
        GlobalHydra.instance().hydra = before


def in_one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) if lines else type(error).__name__


def _unknown_in_files(
    tree: Mapping[str, Any], known: Mapping[str, Key], schema: Schema, choices: Mapping[str, Any]
) -> list[str]:
    """Keys that a chosen file sets and nothing reads."""
    problems = []
    files = schema.chosen(choices)
    for name, value in leaves(tree):
        if _key_of(name, known) is not None:
            continue
        origin = next((f"{file.path}: " for file in files if name in file.keys), "")
        if any(key.startswith(f"{name}.") for key in known):
            if value not in ({}, None):  # else a section that a file left empty
                hint = (
                    f"; a choice is made under defaults: - override /{name}: {value}" if name in schema.groups else ""
                )
                problems.append(f"{origin}{name}={value}: holds several keys, not a value{hint}")
            continue
        new = new_name(name)
        problems.append(
            f"{origin}{name}: renamed to {new}"
            if new in known
            else f"{origin}{name}: no such key{did_you_mean(name, known)}"
        )
    return problems


def _wrong_kinds(tree: Mapping[str, Any], known: Mapping[str, Key]) -> list[str]:
    problems = []
    for name, value in leaves(tree):
        key = known.get(name)
        if key is not None and key.kinds is not None and not admits(key.kinds, value):
            shown = "null" if value is None else value
            hint = _near_override(value, key) or _unusable(value)
            problems.append(f"{name}={shown}: must be {describe(key.kinds)}{hint}")
    return problems


NAMED = ("data", "backbone", "task")
"""Groups whose ``name`` says what is built: it is that of one of our files."""


def _wrong_names(tree: Mapping[str, Any], schema: Schema, choices: Mapping[str, Any]) -> list[str]:
    """``backbone.name=convnext``, before anything is imported that would know. A file that leaves its name to the user, and a
    section that a ``_target_`` fills, take any."""
    problems = []
    for group in NAMED:
        section, files = tree.get(group), schema.choices(group) if group in schema.groups else {}
        if not isinstance(section, Mapping) or TARGET in section or not isinstance(section.get("name"), str):
            continue
        names = {choice: read_keys(path, group).keys.get(f"{group}.name") for choice, path in files.items()}
        known = {choice: key.default for choice, key in names.items() if key is not None}
        if known.get(str(choices.get(group))) != "null" and section["name"] not in known.values():
            hint = f"{did_you_mean(section['name'], known.values())} (the choices of {group}: {', '.join(known)})"
            problems.append(f"{group}.name={section['name']}: no such {group}{hint}")
    return problems


def _unusable(value: Any) -> str:
    numbers = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int | float)]
    return "" if all(map(usable, numbers)) else ", a finite number below 2^63"


def _near_override(value: Any, key: Key) -> str:
    asked = [kind.literal for kind in key.kinds or () if kind.base == "literal"]
    return did_you_mean(value, asked) if isinstance(value, str) and asked else ""
