"""A command's arguments, split into ``key=value`` overrides and the few flags that are none; their values for Hydra; and errors
of a user's making, one line a problem, all problems at once.

Two readers stand between a shell override and the configuration: Hydra's override grammar (commas, brackets, quotes, equals
signs, colons, backslashes and spaces mean something to it) and OmegaConf's interpolation (``${x}``). :func:`quote` undoes both.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from effdet.addresses import without_credentials


class ConfigError(ValueError):
    """Overrides or configuration files that cannot be run. `problems` holds one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))  # the same mistake seen from two sides is reported once
        super().__init__("\n".join(self.problems))


USUAL = {"epochs": "trainer.max_epochs", "batch": "batch_size", "imgsz": "image_size", "img_size": "image_size"}
"""What other tools call a key."""


def closest(misspelt: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `misspelt` most likely meant, or None.

    A dotted key is also compared by only its last part, so that ``lr`` finds ``optimizer.lr`` and ``epochs`` finds
    ``trainer.max_epochs``.
    """
    names = list(dict.fromkeys(choices))
    if USUAL.get(misspelt) in names:
        return USUAL[misspelt]
    if direct := _nearest(misspelt, names):
        return direct
    last = misspelt.rpartition(".")[2].lower()
    tails: dict[str, str] = {}
    for name in names:
        tails.setdefault(name.rpartition(".")[2].lower(), name)
    if last in tails:
        return tails[last]
    if near := _nearest(last, list(tails)):
        return tails[near]
    inside = [name for tail, name in tails.items() if len(last) >= 4 and last in tail.split("_")]
    return inside[0] if inside else None


def _nearest(misspelt: str, names: Sequence[str], *, cutoff: float = 0.59) -> str | None:
    """The most similar name; of equals the first, since files list what is used most first."""
    import difflib  # only mistakes need it

    matcher = difflib.SequenceMatcher(b=misspelt)
    best, most = None, cutoff
    for name in names:
        matcher.set_seq1(name)
        if matcher.real_quick_ratio() >= most and (ratio := matcher.ratio()) > most:
            best, most = name, ratio
    return best


def did_you_mean(misspelt: str, choices: Iterable[str]) -> str:
    """``"; did you mean NAME?"``, or nothing where no choice is near. To be followed by nothing or a bracket."""
    name = closest(misspelt, choices)
    return f"; did you mean {name}?" if name else ""


def is_user_error(error: BaseException) -> bool:
    """Whether `error` tells a user what to mend, and is to be printed without its traceback.

    ``heads.errors`` is looked at only where a command has imported it already: an answer such as ``--help`` needs none of it.
    """
    errors = sys.modules.get("heads.errors")
    kinds: tuple[type[BaseException], ...] = (ConfigError, FileNotFoundError, PermissionError, IsADirectoryError)
    if errors is not None:
        kinds += (errors.UserError,)
    return isinstance(error, kinds)


_SWITCHES = {
    **dict.fromkeys(("--help", "-h"), "help"),
    "--print": "show",
    **dict.fromkeys(("--multirun", "-m"), "multirun"),
    **dict.fromkeys(("--run", "-r"), "run"),
    "--resolve": "resolve",
}
_VALUED = {
    **dict.fromkeys(("--config-dir", "-cd"), "config_dir"),
    **dict.fromkeys(("--config-name", "-cn"), "config_name"),
    **dict.fromkeys(("--cfg", "-c"), "cfg"),
    **dict.fromkeys(("--package", "-p"), "package"),
    **dict.fromkeys(("--info", "-i"), "info"),
}
"""Hydra's flags, as its manual names them; what each takes."""
_ALLOWED = {
    "cfg": ("job", "hydra", "all"),
    "info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_REFUSED = {
    **dict.fromkeys(
        ("--config-path", "-cp"), "the configuration folder is effdet's own; add yours by --config-dir DIR"
    ),
    **dict.fromkeys(("--shell-completion", "-sc"), "there is no completion for commands of effdet"),
    "--hydra-help": "write --help, or --cfg hydra for the values of Hydra's own keys",
    "--experimental-rerun": "runs are repeated by their seed, and go on by resume=auto",
}


@dataclass(frozen=True)
class Override:
    """One ``key=value``."""

    key: str
    value: str
    adds: bool = False
    """Written ``+key=value``: a key that no file has."""

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclass(frozen=True)
class Overrides:
    """What a command was asked."""

    items: tuple[Override, ...] = ()
    config_dir: Path | None = None
    """The user's own configuration files, laid out as ours (``data/mine.yaml``)."""
    help: bool = False
    show: bool = False
    """Print the composed configuration, and run nothing."""
    problems: tuple[str, ...] = ()
    from_shell: bool = False
    """They are this process's own command line, so that processes started like it run the same command."""
    config_name: str | None = None
    """The user's own primary file in `config_dir`, which extends the command's."""
    multirun: bool = False
    hydra: tuple[str, ...] = ()
    """Overrides of Hydra's own keys, ``hydra.sweep.dir=DIR`` and ``hydra/launcher=joblib``."""
    cfg: str | None = None
    """Print this part of Hydra's configuration (job, hydra, all), and run nothing."""
    package: str | None = None
    resolve: bool = False
    info: str | None = None
    """Print what Hydra knows: plugins, search path, defaults."""

    def get(self, key: str) -> str | None:
        """The value last given to `key`."""
        return next((override.value for override in reversed(self.items) if override.key == key), None)

    def flags(self) -> list[str]:
        """The flags that choose files, for a process that runs the same command."""
        found = [] if self.config_dir is None else ["--config-dir", str(self.config_dir)]
        return found if self.config_name is None else [*found, "--config-name", self.config_name]

    def shown(self) -> list[str]:
        """The overrides as they may be printed and kept, without credentials, in the order of the alphabet."""
        return sorted(f"{override.key}={without_credentials(override.value)}" for override in self.items)

    def adding(self, **values: str) -> Overrides:
        """The same overrides with those of `values` in front whose keys are not named."""
        extra = tuple(Override(key, value) for key, value in values.items() if self.get(key) is None)
        return replace(self, items=extra + self.items)


def split_overrides(
    arguments: Sequence[str], *, positional: Sequence[str] = (), switches: Sequence[str] = ()
) -> Overrides:
    """Splits `arguments`; what cannot be split is reported in `problems`.

    Args:
        arguments: as the shell gave them.
        positional: keys of overrides that may be written without ``key=``, in their order (``effdet info b0``).
        switches: keys that may be written as a flag (``--env`` for ``env=true``).
    """
    overrides: list[Override] = []
    hydra: list[str] = []
    problems: list[str] = []
    passed: set[str] = set()
    values: dict[str, str] = {}
    free = [key for key in positional if not any(argument.startswith(f"{key}=") for argument in arguments)]
    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        flag, _, attached = argument.partition("=")
        if argument in _SWITCHES:
            passed.add(_SWITCHES[argument])
        elif flag in _VALUED:
            name = _VALUED[flag]
            value, problem = _flag_value(flag, name, attached, rest)
            values[name] = value
            problems += problem
        elif flag in _REFUSED:
            problems.append(f"{flag}: {_REFUSED[flag]}")
        elif argument.startswith("--") and argument[2:] in switches:
            overrides.append(Override(argument[2:], "true"))
        elif argument.startswith("--") and attached:
            problems.append(f"{argument}: overrides take no dashes; write {argument.lstrip('-')}")
        elif argument.startswith("--") or (argument.startswith("-") and argument[1:2].isalpha()):
            known = [*_SWITCHES, *_VALUED, *(f"--{switch}" for switch in switches)]
            problems.append(f"{argument}: no such flag{did_you_mean(argument, known)} (options are written key=value)")
        elif flag.lstrip("+~").startswith(("hydra.", "hydra/")):
            hydra.append(argument)
        elif "=" not in argument:
            if free:
                overrides.append(Override(free.pop(0), argument))
            else:
                problems.append(f"{argument}: not a key=value override; write for example data=coco or seed=1")
        else:
            problems += _take(argument, overrides)
    show = [override for override in overrides if override.key == "cfg"]
    asked = [flag for flag, name in (("--cfg", "cfg"), ("--info", "info")) if name in values]
    asked += [f"--{name}" for name in ("multirun", "run") if name in passed]
    if len(asked) > 1:
        problems.append(f"{' '.join(asked)}: give one of them")
    problems += [
        f"--{name}: goes with --cfg"
        for name in ("resolve", "package")
        if name in passed | set(values) and "cfg" not in values
    ]
    modes = [text.partition("=")[2].upper() for text in hydra if text.startswith("hydra.mode=")]
    config_dir = values.get("config_dir")
    return Overrides(
        items=tuple(override for override in overrides if override.key != "cfg"),
        config_dir=None if not config_dir else Path(config_dir).expanduser().absolute(),
        help="help" in passed,
        show="show" in passed or any(override.value.lower() == "true" for override in show),
        problems=tuple(problems),
        config_name=values.get("config_name"),
        multirun="multirun" in passed or ("run" not in passed and modes[-1:] == ["MULTIRUN"]),
        hydra=tuple(hydra),
        cfg=values.get("cfg"),
        package=values.get("package"),
        resolve="resolve" in passed,
        info=values.get("info"),
    )


def _flag_value(flag: str, name: str, attached: str, rest: list[str]) -> tuple[str, list[str]]:
    """The value of a flag, ``--cfg job`` or ``--cfg=job``, and what is wrong with it."""
    allowed, following = _ALLOWED.get(name), rest[-1] if rest else ""
    if name == "info" and not attached and following not in _ALLOWED["info"]:
        if not following or following.startswith("-") or "=" in following:
            return "all", []
    value = attached or (rest.pop() if following and not following.startswith("-") else None)
    if allowed is not None and value not in allowed:
        text = f"{flag} {value}: no such part{did_you_mean(value, allowed)}" if value else f"{flag}: name a part"
        return "", [f"{text} ({', '.join(allowed)})"]
    if not value:
        what = {"config_dir": "the folder of your configuration files", "config_name": "your primary file"}
        return "", [
            f"{flag}: name {what.get(name, 'a part of the configuration')}, {flag} {name.rpartition('_')[2].upper()}"
        ]
    return value, []


def _take(argument: str, overrides: list[Override]) -> list[str]:
    key, _, value = argument.partition("=")
    adds, key = key.startswith("+"), key.removeprefix("+")
    bare = key.lstrip("+~")
    if not bare:
        return [f"{argument}: a key is missing before the '='; write for example seed=1"]
    if bare != key:
        return [f"{argument}: keys are neither removed nor forced; write {bare}={value}"]
    if any(override.key == key for override in overrides):
        return [
            f"{key}: given more than once ({next(w.value for w in overrides if w.key == key)}, {value}); give it once"
        ]
    overrides.append(Override(key, value, adds))
    return []


def require_dir(path: Path | None) -> None:
    if path is not None and not path.is_dir():
        raise ConfigError([f"--config-dir {path}: no such folder"])


def quote(value: str) -> str:
    r"""`value` as a Hydra override value that arrives letter for letter: ``it's`` becomes ``'it\'s'``."""
    # OmegaConf first: "${" opens an interpolation unless an odd number of backslashes stands before it, of which each
    # pair is then read as one.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    # Then Hydra: backslashes count only where a quote follows them, the closing one included.
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", escaped)
    escaped = re.sub(r"(\\+)\Z", lambda match: match[1] * 2, escaped)
    return f"'{escaped}'"


def unquote(text: str) -> str:
    r"""The value that :func:`quote` was given, of the text that Hydra's parser finds between its quotes."""
    # Pairs of backslashes in front of an escaped "${", which quote() doubled, are halved; the escape itself goes.
    return re.sub(r"(\\)*\\\$\{", lambda match: "\\" * ((len(match[0]) - 3) // 2) + "${", text)


def split_choices(value: str) -> list[str]:
    r"""The values between the commas of `value`; commas in quotes or brackets, or behind a backslash, separate nothing.

    Quotes count where a value or an item of a list begins: ``it's,mine`` is two values. Brackets that are never closed are
    letters. A value in quotes is what stands between them.
    """
    parts = _split(value, brackets=True)
    return [_plain(part) for part in (parts if parts is not None else _split(value, brackets=False) or [value])]


def _split(value: str, *, brackets: bool) -> list[str] | None:
    parts, depth, quote_mark, at_start, skip = [""], 0, "", True, False
    for letter in value:
        if skip or (letter == "\\" and not skip):
            skip = not skip
        elif quote_mark:
            quote_mark = "" if letter == quote_mark else quote_mark
        elif letter in "'\"" and at_start:
            quote_mark = letter
        elif brackets and letter in "[{(":
            depth += 1
        elif brackets and letter in ")}]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            at_start = True
            continue
        at_start = letter in ",[{(: " and (depth > 0 or letter == " ") and not skip
        parts[-1] += letter
    return None if depth or quote_mark else parts


def _plain(part: str) -> str:
    text = part.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        mark = text[0]
        return re.sub(rf"(\\+)({mark}|\Z)", lambda m: "\\" * (len(m[1]) // 2) + m[2], text[1:-1])
    return part.replace("\\,", ",")


def expand(value: str) -> str:
    """`value` with a leading ``~`` or ``~user`` replaced by the home folder."""
    return os.path.expanduser(value) if value.startswith("~") else value


_NUMBER = re.compile(r"[+-]?(\d[\d_]*)?\.?\d+([eE][+-]?\d+)?|[+-]?\d+\.|[+-]?(inf|nan)", re.IGNORECASE)


def shape(value: str) -> str:
    """What the text looks like to Hydra: ``"null"``, ``"bool"``, ``"number"``, ``"list"``, ``"dict"`` or ``"text"``."""
    text = value.strip()
    if text.lower() == "null":
        return "null"
    if text.lower() in ("true", "false"):
        return "bool"
    if _NUMBER.fullmatch(text):
        return "number"
    if text.startswith("[") and text.endswith("]"):
        return "list"
    if text.startswith("{") and text.endswith("}"):
        return "dict"
    return "text"
