"""What the settings dataclasses say of each key: type, range, meaning and default, read from their source text.

Nothing that it reads is imported: the annotations are literals of the grammar of :mod:`heads.fields`, the line of text below
a field is its meaning. :mod:`effdet.cli.settings` has one class a command; its fields lead to the classes of the packages.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heads.fields import NULL, Kinds, kinds_of

SETTINGS = "effdet.cli.settings"
_ROOT = Path(__file__).resolve().parents[2]
_OVERRIDES, _SCALED = "Overrides", "Scaled"
_MISSING: Any = object()
_AS_YAML = {"None": "null", "True": "true", "False": "false"}
_PYTHON = re.compile(r"\b(None|True|False)\b")


@dataclass(frozen=True)
class Field:
    """One field of a settings dataclass."""

    kinds: Kinds
    text: str
    """Its meaning, in one line, or nothing."""
    default: Any = _MISSING

    @property
    def has_default(self) -> bool:
        """Whether the text has a literal default."""
        return self.default is not _MISSING


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
    scope = _scope(module)
    if (node := scope.classes.get(name)) is None:
        if name in scope.imports:
            return fields_of(*scope.imports[name])
        raise LookupError(f"{module} has no class {name}")
    found: dict[str, Field] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and (home := scope.home(base.id)):
            found |= fields_of(*home)
    for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            key = statement.target.id
            found = {other: field for other, field in found.items() if not other.startswith(f"{key}.")}
            found |= {f"{key}{rest}": field for rest, field in _read(statement, _text(below), scope)}
    return found


def _read(statement: ast.AnnAssign, text: str, scope: _Scope) -> Iterator[tuple[str, Field]]:
    """(what follows the field's name, field): one for a value, many for a section."""
    annotation = statement.annotation
    wrapper = None
    match annotation:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Name() as inner) if name in (_OVERRIDES, _SCALED):
            wrapper, annotation = name, inner
    if isinstance(annotation, ast.Name) and (home := scope.home(annotation.id)):
        for key, field in fields_of(*home).items():
            yield f".{key}", field if wrapper is None else _nullable(field, shown=wrapper == _OVERRIDES)
    elif (kinds := kinds_of(annotation)) is not None:
        yield "", Field(kinds, text, _literal(statement.value))


def _nullable(field: Field, *, shown: bool) -> Field:
    """A key that null leaves as it is, which is the field's default where that is `shown`."""
    kinds = field.kinds if NULL in field.kinds else (*field.kinds, NULL)
    if not shown or not field.has_default or field.default is None:
        return replace(field, kinds=kinds)
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    default = str(list(default)).replace("(", "[").replace(")", "]") if isinstance(default, tuple) else default
    return Field(kinds, f"{field.text} null: {default}.".strip())


def _literal(node: ast.expr | None) -> Any:
    try:
        return _MISSING if node is None else ast.literal_eval(node)
    except ValueError:  # a default factory, a constant of the module
        return _MISSING


def _text(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return _PYTHON.sub(lambda found: _AS_YAML[found[0]], " ".join(text.replace("``", "`").split()))
    return ""


@dataclass(frozen=True)
class _Scope:
    """The classes of a module, and where its imported names come from."""

    module: str
    classes: dict[str, ast.ClassDef]
    imports: dict[str, tuple[str, str]]

    def home(self, name: str) -> tuple[str, str] | None:
        """(module, class) of a name of ours; None for any other."""
        return (self.module, name) if name in self.classes else self.imports.get(name)


@functools.cache
def _scope(module: str) -> _Scope:
    path = _ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    body = ast.parse(source.read_text(encoding="utf-8")).body
    imports = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in _OURS
        for alias in node.names
    }
    return _Scope(module, {node.name: node for node in body if isinstance(node, ast.ClassDef)}, imports)


_OURS = ("effdet", "heads", "backbones")
"""Packages whose classes are followed."""
