"""Objects of the user's own, named by ``_target_``: find, check and build them, and decide whose names are trusted.

The keys are those of Hydra's manual ("Instantiating objects"): ``_target_``, ``_args_``, ``_partial_`` and ``_recursive_``, at
any depth. Containers always arrive as plain dicts and lists (Hydra's ``_convert_: all``).

Importing a target runs its module's code. A target that the user wrote (command line, ``--config-dir``, Python) is imported
as it stands; one read from a file that may come from elsewhere passes :func:`check_trust` first.
"""

from __future__ import annotations

import contextlib
import contextvars
import difflib
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from heads.errors import UserError
from heads.fields import TARGET

SPECIAL = (TARGET, "_args_", "_partial_", "_recursive_", "_convert_")
"""Keys with a meaning of their own; every other one is an argument of the target."""

_named: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("effdet_named_targets", default=frozenset())


def is_target(value: Any) -> bool:
    """Whether `value` is a mapping with a ``_target_``."""
    return isinstance(value, Mapping) and TARGET in value


def targets(values: Any) -> list[str]:
    """Every ``_target_`` inside nested mappings and lists, each once, in the order in which they stand."""
    found: list[str] = []
    if isinstance(values, Mapping):
        if isinstance(values.get(TARGET), str):
            found.append(values[TARGET])
        for value in values.values():
            found += targets(value)
    elif isinstance(values, list | tuple):
        for value in values:
            found += targets(value)
    return list(dict.fromkeys(found))


# ----------------------------------------------------------------------------------------------------------------- trust


@contextlib.contextmanager
def naming(names: Iterable[str]) -> Iterator[None]:
    """Within the block, `names` are targets that the user wrote: :func:`check_trust` accepts them from any file."""
    token = _named.set(_named.get() | frozenset(names))
    try:
        yield
    finally:
        _named.reset(token)


def check_trust(names: Collection[str], *, origin: str | Path, trust: bool, again: bool = True) -> None:
    """Refuse targets that only a file names.

    Args:
        names: as :func:`targets` finds them in the file.
        origin: the file, for the error.
        trust: the user said that the file may run code.
        again: whether the command has keys by which the user can name the same targets, for the error.

    Raises:
        UserError: a target is neither trusted nor named by the user in this call as well.
    """
    unnamed = [name for name in names if name not in _named.get()]
    if unnamed and not trust:
        other = f", or name the same {TARGET} again" if again else ""
        raise UserError(
            f"{origin}: imports {', '.join(unnamed)}, and importing runs code: if you know where the file comes from, allow it "
            f"by trust=true (trust=True in Python){other}"
        )


def make_importable(*directories: Path) -> None:
    """Append `directories` to the module search path: behind everything installed, so that they replace none of it."""
    for directory in directories:
        if str(directory) not in sys.path:
            sys.path.append(str(directory))
    importlib.invalidate_caches()


# ---------------------------------------------------------------------------------------------------------------- import


def locate(target: str) -> Any:
    """The object that the dotted `target` names, ``"pkg.mod.Name"`` or ``"pkg.mod.Class.method"``.

    Raises:
        UserError: there is no such module or attribute, or importing it fails.
    """
    parts = target.split(".") if isinstance(target, str) else [""]
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise UserError(f"{TARGET}={target}: must be the dotted name of a class or function, package.module.Name")
    module, depth = _import_longest(target, parts)
    found: Any = module
    for index in range(depth, len(parts)):
        try:
            found = getattr(found, parts[index])
        except AttributeError:
            raise UserError(_no_attribute(target, found, parts, index)) from None
    return found


def _import_longest(target: str, parts: list[str]) -> tuple[ModuleType, int]:
    """The deepest module that `parts` begin with, and of how many parts its name is."""
    module: ModuleType | None = None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise UserError(f"{TARGET}={target}: {_failure(f'importing {name}', error)}") from error
            if module is None:
                raise UserError(_no_module(target, parts[0])) from None
            return module, depth - 1
        except Exception as error:
            raise UserError(f"{TARGET}={target}: {_failure(f'importing {name}', error)}") from error
    assert module is not None
    return module, len(parts)


def _no_module(target: str, name: str) -> str:
    hint = _near(name, _modules())
    return (
        f"{TARGET}={target}: there is no module {name}{hint}; it must lie in the current folder, in the folder of "
        "--config-dir, or on PYTHONPATH"
    )


def _no_attribute(target: str, owner: Any, parts: list[str], index: int) -> str:
    path = ".".join(parts[:index])
    names = [name for name in dir(owner) if not name.startswith("_")]
    names += _modules(getattr(owner, "__path__", []))
    return f"{TARGET}={target}: {path} has no {parts[index]}{_near(parts[index], names)}"


def _modules(path: Iterable[str] | None = None) -> list[str]:
    """Names of the modules in the folders of `path`; None takes ``sys.path``."""
    import pkgutil  # only errors need it: it takes a millisecond that `--help` does without

    return [found.name for found in pkgutil.iter_modules(path)]


def _failure(doing: str, error: Exception) -> str:
    """One line: what failed, how, and where in the user's file."""
    import sysconfig
    import traceback

    library = sysconfig.get_path("stdlib")
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in places if frame.filename != __file__ and not frame.filename.startswith(library)]
    place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{doing} failed: {type(error).__name__}: {' '.join(str(error).split())}{place}"


def _near(name: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


# ----------------------------------------------------------------------------------------------------------------- build


def instantiate(config: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call the target of `config` with its other keys as arguments; nested targets are built first.

    Args:
        config: a mapping with ``_target_``.
        args: positional arguments, in place of ``_args_``.
        kwargs: arguments that beat those of `config`.

    Raises:
        UserError: as :func:`locate`; an argument that the target doesn't take or lacks; the call failed.
    """
    function, positional, named, partial = _call(config, args, kwargs)
    _bind(config[TARGET], function, positional, named, partial=partial)
    if config.get("_recursive_", True):
        positional = [build(value) for value in positional]
        named = {name: value if name in kwargs else build(value) for name, value in named.items()}
    if partial:
        return functools.partial(function, *positional, **named)
    try:
        return function(*positional, **named)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{TARGET}={config[TARGET]}: {_failure('the call', error)}") from error


def build(value: Any) -> Any:
    """`value` with every mapping that has a ``_target_`` replaced by its object, at any depth."""
    if is_target(value):
        return instantiate(value)
    if isinstance(value, Mapping):
        return {name: build(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [build(item) for item in value]
    return value


def accepts(config: Mapping[str, Any], name: str) -> bool:
    """Whether the target of `config` has an argument `name` that `config` leaves open."""
    try:
        return name in inspect.signature(locate(config[TARGET])).parameters and name not in config
    except (ValueError, TypeError):
        return False


def check(config: Mapping[str, Any], *args: str, **kwargs: Any) -> None:
    """Import `config`'s target and compare its signature with what it would be called with, without calling it.

    Args:
        config: a mapping with ``_target_``; those nested in it are checked too.
        args: names of the positional arguments that the caller will give.
        kwargs: arguments that the caller will give; only their names matter.

    Raises:
        UserError: as :func:`instantiate`, but for what only a call can find.
    """
    function, positional, named, partial = _call(config, args, kwargs)
    _bind(config[TARGET], function, positional, named, partial=partial)
    if config.get("_recursive_", True):
        for nested in (*config.get("_args_", ()), *(value for name, value in config.items() if name not in SPECIAL)):
            check_all(nested)


def check_all(value: Any) -> None:
    """:func:`check` for every mapping with a ``_target_`` inside `value`."""
    if is_target(value):
        check(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            check_all(item)
    elif isinstance(value, list | tuple):
        for item in value:
            check_all(item)


def _call(
    config: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Callable[..., Any], list[Any], dict[str, Any], bool]:
    """(callable, positional arguments, named arguments, whether ``_partial_``), nothing built yet."""
    target = config[TARGET]
    function = locate(target)
    if not callable(function):
        raise UserError(f"{TARGET}={target}: must be a class or function, and is a {type(function).__name__}")
    own = config.get("_args_", [])
    if not isinstance(own, list | tuple):
        raise UserError(f"{TARGET}={target}: _args_={own} must be a list")
    for key in ("_partial_", "_recursive_"):
        if not isinstance(config.get(key, False), bool):
            raise UserError(f"{TARGET}={target}: {key}={config[key]} must be true or false")
    if config.get("_convert_", "all") != "all":
        raise UserError(
            f"{TARGET}={target}: _convert_={config['_convert_']}: arguments are plain dicts and lists, _convert_=all"
        )
    named = {str(name): value for name, value in config.items() if name not in SPECIAL}
    return function, list(args or own), {**named, **kwargs}, bool(config.get("_partial_", False))


def _bind(
    target: str, function: Callable[..., Any], positional: list[Any], named: Mapping[str, Any], *, partial: bool
) -> None:
    """Refuse arguments that `function` doesn't take, and a call that lacks one."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # some C functions have none; the call itself will tell
    parameters = signature.parameters.values()
    by_name = [item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
    takes = f"(it takes {', '.join(by_name) or 'none'})"
    if not any(item.kind is item.VAR_KEYWORD for item in parameters):
        for name in named:
            if name not in by_name:
                raise UserError(f"{TARGET}={target}: takes no argument {name}{_near(name, by_name)} {takes}")
    try:
        (signature.bind_partial if partial else signature.bind)(*positional, **named)
    except TypeError as error:
        later = (
            ""
            if partial or inspect.isclass(function)
            else "; a function that is only called later needs _partial_=true"
        )
        raise UserError(f"{TARGET}={target}: {error} {takes}{later}") from None
