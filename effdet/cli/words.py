"""Splits a command's arguments into ``key=value`` words and the few flags that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from effdet.addresses import without_credentials
from effdet.cli.errors import ConfigError, did_you_mean

_FLAGS = {"--help": "help", "-h": "help", "--cfg": "show", "--print": "show"}


@dataclass(frozen=True)
class Word:
    """One ``key=value``."""

    key: str
    value: str
    adds: bool = False
    """Written ``+key=value``: a key that no file has."""

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclass(frozen=True)
class Words:
    """What a command was asked."""

    words: tuple[Word, ...] = ()
    config_dir: Path | None = None
    """The user's own configuration files, laid out as ours (``data/mine.yaml``)."""
    help: bool = False
    show: bool = False
    """Print the composed configuration, and run nothing."""
    problems: tuple[str, ...] = ()
    from_shell: bool = False
    """They are this process's own command line, so that processes started like it run the same command."""

    def get(self, key: str) -> str | None:
        """The value last given to `key`."""
        return next((word.value for word in reversed(self.words) if word.key == key), None)

    def shown(self) -> list[str]:
        """The words as they may be printed and kept, without credentials, in the order of the alphabet."""
        return sorted(f"{word.key}={without_credentials(word.value)}" for word in self.words)

    def adding(self, **values: str) -> Words:
        """The same words with those of `values` in front whose keys are not named."""
        extra = tuple(Word(key, value) for key, value in values.items() if self.get(key) is None)
        return replace(self, words=extra + self.words)


def split_words(arguments: Sequence[str], *, positional: Sequence[str] = (), switches: Sequence[str] = ()) -> Words:
    """Splits `arguments`; what cannot be split is told in `problems`.

    Args:
        arguments: as the shell gave them.
        positional: keys of words that may be written without ``key=``, in their order (``effdet info b0``).
        switches: keys that may be written as a flag (``--env`` for ``env=true``).
    """
    words: list[Word] = []
    problems: list[str] = []
    flags = {"help": False, "show": False}
    config_dir: str | None = None
    free = [key for key in positional if not any(argument.startswith(f"{key}=") for argument in arguments)]
    rest = iter(arguments)
    for argument in rest:
        if argument in _FLAGS:
            flags[_FLAGS[argument]] = True
            if argument == "--cfg":  # Hydra's own spelling is "--cfg job"
                rest = _without_job(rest)
        elif argument == "--config-dir" or argument.startswith("--config-dir="):
            config_dir = argument.partition("=")[2] or next(rest, None)
            if not config_dir:
                problems.append("--config-dir: name the folder of your own configuration files, --config-dir DIR")
        elif argument.startswith("--") and argument[2:] in switches:
            words.append(Word(argument[2:], "true"))
        elif argument.startswith("--") and "=" in argument:
            problems.append(f"{argument}: words take no dashes; write {argument.lstrip('-')}")
        elif argument.startswith("--") or (argument.startswith("-") and argument[1:2].isalpha()):
            known = [*_FLAGS, "--config-dir", *(f"--{switch}" for switch in switches)]
            problems.append(f"{argument}: no such flag{did_you_mean(argument, known)} (options are written key=value)")
        elif "=" not in argument:
            if free:
                words.append(Word(free.pop(0), argument))
            else:
                problems.append(f"{argument}: not a key=value word; write for example data=coco or seed=1")
        else:
            problems += _take(argument, words)
    show = [word for word in words if word.key == "cfg"]
    return Words(
        words=tuple(word for word in words if word.key != "cfg"),
        config_dir=None if config_dir is None else Path(config_dir).expanduser().absolute(),
        help=flags["help"],
        show=flags["show"] or any(word.value.lower() == "true" for word in show),
        problems=tuple(problems),
    )


def _take(argument: str, words: list[Word]) -> list[str]:
    key, _, value = argument.partition("=")
    adds, key = key.startswith("+"), key.removeprefix("+")
    bare = key.lstrip("+~")
    if not bare:
        return [f"{argument}: a key is missing before the '='; write for example seed=1"]
    if bare != key:
        return [f"{argument}: keys are neither removed nor forced; write {bare}={value}"]
    if any(word.key == key for word in words):
        return [f"{key}: given more than once ({next(w.value for w in words if w.key == key)}, {value}); give it once"]
    words.append(Word(key, value, adds))
    return []


def _without_job(rest):
    first = next(rest, None)
    if first not in (None, "job"):
        yield first
    yield from rest


def require_dir(path: Path | None) -> None:
    if path is not None and not path.is_dir():
        raise ConfigError([f"--config-dir {path}: no such folder"])
