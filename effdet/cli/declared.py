"""What the settings dataclasses say of each key: type, range, meaning and default, read from their source text.

Nothing that it reads is imported: the annotations are literals of the grammar of :mod:`heads.fields`, the string below a field
is its meaning. :mod:`effdet.cli.settings` has one class a command; its fields lead to the classes of the packages. Fields are
found by regular expressions, ten times as fast as a parse of the modules; tests compare them with the imported classes.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

from heads.fields import NULL, Kinds, kinds_of

SETTINGS = "effdet.cli.settings"
_ROOT = Path(__file__).resolve().parents[2]
_IMPORT = re.compile(r"^from ((?:effdet|heads|backbones)[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)
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


def declared(command: str) -> dict[str, Field]:
    """``{dotted key: field}`` of everything that a command may read."""
    return fields_of(SETTINGS, command.capitalize())


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
    if name in imports:
        return fields_of(imports[name], name)
    if name not in classes:
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
            found[key] = Field(kinds, _in_one_line(text), default)
    return inherited | found


def _wrapped(field: Field, wrapper: str | None) -> Field:
    """A key of a section, which null leaves as it is in ``Scaled[…]`` and ``Overrides[…]``; the latter shows its default."""
    if wrapper is None:
        return field
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


def _in_one_line(text: str) -> str:
    return _PYTHON.sub(lambda found: _AS_YAML[found[0]], " ".join(text.replace("``", "`").split()))


@functools.cache
def _read(module: str) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """``{class: (bases, body)}`` of a module, and ``{imported name: its module}`` of names of ours."""
    path = _ROOT.joinpath(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    imports = {name: home for home, names in _IMPORT.findall(source) for name in re.findall(r"\w+", names)}
    return {name: (bases, body) for name, bases, body in _CLASS.findall(source)}, imports
