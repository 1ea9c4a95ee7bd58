"""``effdet COMMAND key=value …``: from the shell's overrides to a command's exit code."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from effdet.addresses import without_credentials_in
from effdet.cli.errors import ConfigError, did_you_mean, is_user_error
from effdet.cli.registry import COMMANDS, Command

if TYPE_CHECKING:
    from effdet.cli.config import Config
    from effdet.cli.overrides import Overrides

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; a command's own result (or a bug of ours, with its traceback); an error of the user's; Ctrl-C.
A run that a signal stopped, and that saved itself first, ends with 128 + the signal's number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` are those behind the program's name (None takes the shell's)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names are bytes: one that is not UTF-8, or that a terminal's encoding lacks, is printed with escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        return _main(arguments)
    except KeyboardInterrupt as stop:  # a signal that a job takes for one says which exit code is its own
        print("interrupted", file=sys.stderr)
        return int(getattr(stop, "exit_code", INTERRUPTED))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `effdet info | head` is no error
        return OK
    except BaseException as error:
        if (
            code := getattr(error, "exit_code", None)
        ) is not None:  # effdet.training.Interrupted: saved, and reported to stop
            text = without_credentials_in(str(error))
            print(f"error: {text}" if isinstance(error, ValueError) else text, file=sys.stderr)
            return int(code)
        if os.environ.get("EFFDET_TRACEBACK") == "1" or not is_user_error(error):
            raise
        _print_error(error)
        return MISUSED


def _main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        from effdet.cli.help import overview

        print(overview())
        return OK
    if arguments[0] == "--version":
        from effdet import __version__

        print(__version__)
        return OK
    name = arguments[0]
    if name not in COMMANDS:
        raise ConfigError([f"{name}: no such command{did_you_mean(name, COMMANDS)} (commands: {', '.join(COMMANDS)})"])
    warnings.formatwarning = _one_line_warning  # here and not in `run`, which notebooks call
    result = run(COMMANDS[name], arguments[1:])
    return result if isinstance(result, int) else OK


def run(command: Command, arguments: Sequence[str]) -> Any:
    """Compose, check and run; returns what the command returns (None after ``--help`` or ``--print``)."""
    from effdet.cli.overrides import require_dir, split_overrides
    from effdet.cli.schema import Schema

    overrides = split_overrides(arguments, positional=command.positional, switches=command.switches)
    overrides = replace(overrides, from_shell=sys.argv[1:] in ([*arguments], [command.name, *arguments]))
    if overrides.help:
        from effdet.cli.help import command_help

        require_dir(overrides.config_dir)
        print(command_help(command, Schema(command.name, overrides.config_dir)))
        return None
    if overrides.cfg is not None or overrides.info is not None:
        from effdet.cli.hydra_app import show

        show(command.name, overrides)
        return None
    if overrides.multirun:
        from effdet.cli.multirun import multirun

        return multirun(command, overrides, prepare)
    if overrides.hydra:
        text = "counts only with -m, --cfg or --info: one run is composed without Hydra's jobs"
        raise ConfigError([*overrides.problems, *(f"{override}: {text}" for override in overrides.hydra)])
    config = prepare(command, overrides)
    if overrides.show:
        print(config.to_yaml(), end="")
        return None
    from effdet.plugins import make_importable, naming, targets

    _warn_of_collisions()
    module = importlib.import_module(command.module)
    found = targets(config.to_dict())
    if found or config.get("trust"):
        make_importable(*([] if overrides.config_dir is None else [overrides.config_dir]), Path.cwd())
    with naming(found):  # by the user, or by a file that `prepare` found to be trusted
        return module.run(config, overrides)


def prepare(command: Command, overrides: Overrides) -> Config:
    """The checked configuration; torch is not needed for it."""
    from effdet.cli.check import check, resolved
    from effdet.cli.resume import inherit

    config = resolved(inherit(command.name, overrides), overrides)
    check(command.name, config, overrides)
    return config


def _warn_of_collisions() -> None:
    for line in collisions(installed()):
        print(f"warning: {line}", file=sys.stderr)


def _one_line_warning(message: Warning | str, category: type[Warning], *place: Any) -> str:
    """For users: the text. Where in the code it was said matters to developers, who see other categories."""
    if issubclass(category, UserWarning):
        return f"warning: {without_credentials_in(str(message))}\n"
    return f"{place[0]}:{place[1]}: {category.__name__}: {message}\n"


def _print_error(error: BaseException) -> None:
    lines = error.problems if isinstance(error, ConfigError) else [_text(error)]
    for line in lines:
        print(f"error: {without_credentials_in(line)}", file=sys.stderr)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


OURS = "effdet-lightning"
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def installed() -> set[str]:
    """Normalised names of the installed distributions."""
    from importlib.metadata import distributions  # takes 20 ms, which --help does without

    names = (distribution.metadata["Name"] for distribution in distributions())
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names if name}


def collisions(names: Collection[str]) -> list[str]:
    """One line for each collision among the distributions `names`, before it causes cryptic import errors.

    The PyTorch port of EfficientDet on PyPI is also a distribution called ``effdet`` with a package called ``effdet``; and both
    OpenCV distributions write the same ``cv2`` folder, so that removing one breaks the other. Only metadata is read.
    """
    found = []
    if "effdet" in names:
        found.append(
            f"the distribution 'effdet' is installed beside '{OURS}', and both hold a package 'effdet': "
            f"pip uninstall effdet {OURS}, then install {OURS} again"
        )
    several = [name for name in OPENCV if name in names]
    if len(several) > 1:
        found.append(
            f"{' and '.join(several)} are both installed and overwrite each other's cv2: "
            f"pip uninstall {' '.join(several)}, then pip install opencv-python-headless"
        )
    return found
