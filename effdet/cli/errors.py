"""Errors of a user's making, one line a problem, all problems at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


class ConfigError(ValueError):
    """Overrides or configuration files that cannot be run. `problems` holds one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))  # the same mistake seen from two sides is reported once
        super().__init__("\n".join(self.problems))


USUAL = {"epochs": "trainer.max_epochs", "batch": "batch_size", "imgsz": "image_size", "img_size": "image_size"}
"""What other tools call a key."""


def closest(misspelt: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `misspelt` most likely meant, or None.

    A dotted key is also compared by its last part alone, so that ``lr`` finds ``optimizer.lr`` and ``epochs`` finds
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
