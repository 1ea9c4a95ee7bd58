"""``effdet COMMAND key=value …``: the commands, their help, and the way from overrides to a result or an exit code.

:func:`train` and :func:`evaluate` are the same for notebooks and tests.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from effdet.addresses import without_credentials_in
from effdet.cli import MODULES
from effdet.cli.overrides import ConfigError, did_you_mean, is_user_error
from heads.fields import describe

if TYPE_CHECKING:
    from effdet.cli.config import Config
    from effdet.cli.overrides import Overrides
    from effdet.cli.run import RunResult
    from effdet.cli.schema import Key, KeyFile, Schema


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
        require_dir(overrides.config_dir)
        print(command_help(command, Schema(command.name, overrides.config_dir)))
        return None
    if overrides.cfg is not None or overrides.info is not None:
        from effdet.cli.multirun import show

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

    for line in collisions(installed()):
        print(f"warning: {line}", file=sys.stderr)
    function = getattr(importlib.import_module(MODULES[command.name]), f"run_{command.name}")
    found = targets(config.to_dict())
    if found or config.get("trust"):
        make_importable(*([] if overrides.config_dir is None else [overrides.config_dir]), Path.cwd())
    with naming(found):  # by the user, or by a file that `prepare` found to be trusted
        return function(config, overrides)


def prepare(command: Command, overrides: Overrides) -> Config:
    """The checked configuration; torch is not needed for it."""
    from effdet.cli.config import check, resolved
    from effdet.cli.resume import inherit

    config = resolved(inherit(command.name, overrides, trains=command.trains), overrides)
    check(command.name, config, overrides)
    return config


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


def train(overrides: Sequence[str] = ()) -> RunResult:
    """Train as ``effdet train WORDS``; errors are raised instead of printed.

    Example::

        run = effdet.train(["task=detection", "backbone=b0", "trainer.max_epochs=10"])
        print(run.metrics["AP"], run.run_dir)
    """
    return _run("train", overrides)


def evaluate(overrides: Sequence[str]) -> RunResult:
    """Measure as ``effdet evaluate WORDS``."""
    return _run("evaluate", overrides)


def _run(name: str, overrides: Sequence[str]) -> RunResult:
    if isinstance(overrides, str):
        raise TypeError(f"effdet.{name} takes a list of overrides, effdet.{name}([{overrides!r}])")
    from effdet.cli.run import RunResult

    result = run(COMMANDS[name], list(overrides))
    return result if isinstance(result, RunResult) else RunResult(None, {})


@dataclass(frozen=True)
class Command:
    """What follows ``effdet`` in a command line."""

    name: str
    """Also the name of its file in ``conf/``, and of its function, ``run_NAME``, and class of keys in :data:`MODULES`."""
    summary: str
    positional: tuple[str, ...] = ()
    """Keys whose overrides may be written without ``key=``."""
    switches: tuple[str, ...] = ()
    """Keys that may be written as a flag."""
    trains: bool = False
    """Whether it trains models: overrides that it doesn't know are those of ``train``, which are handed on."""
    output: str | None = None
    """The key that names the folder of its results; with one, the command runs as the jobs of ``-m``."""
    resume: tuple[str, ...] = ()
    """Overrides with which the same command goes on where it was interrupted."""
    examples: tuple[str, ...] = ()


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "train",
            "train a model, evaluate it, write a run folder",
            output="run_dir",
            resume=("resume=auto",),
            examples=(
                "effdet train experiment=quickstart",
                "effdet train task=detection backbone=b3",
                "effdet train data=coco data.root=DIR backbone=b0 weights=auto",
                "effdet train run_dir=runs/x resume=auto",
                "effdet train -m experiment=quickstart seed=0,1,2 augment=none,light",
            ),
        ),
        Command(
            "evaluate",
            "measure a model on a split of a data set",
            output="out",
            examples=(
                "effdet evaluate model=runs/x split=val",
                "effdet evaluate model=efficientdet_lite0 weights=FILE data=coco data.root=DIR",
            ),
        ),
        Command(
            "predict",
            "draw a model's predictions on images or a video",
            output="out",
            resume=("resume=auto",),
            examples=(
                "effdet predict model=runs/x source=street.jpg",
                "effdet predict model=runs/x source=FOLDER out=OUT resume=auto",
                "effdet predict model=runs/x source=drive.mp4 predict.track=true",
            ),
        ),
        Command(
            "export",
            "write a model for another runtime, checked against the model",
            output="out",
            examples=(
                "effdet export model=runs/x",
                "effdet export model=runs/x format=openvino precision=int8 nms=true out=street.xml",
            ),
        ),
        Command(
            "doctor",
            "validate a data set and say how to fix it",
            output="out",
            examples=(
                "effdet doctor data=coco data.root=DIR",
                "effdet doctor data=voc data.root=DIR backbone=lite0 image_size=512",
                "effdet doctor data=yolo data.root=DIR doctor.fix=true out=OUT",
            ),
        ),
        Command(
            "shards",
            "write a data set as tar shards, to stream it from another disk or address",
            examples=("effdet shards data=coco data.root=DIR split=train out=SHARDS",),
        ),
        Command(
            "scale",
            "fit a model to a budget of time or memory; find compound scaling's coefficients by training",
            trains=True,
            examples=(
                "effdet scale fit_latency_ms=30 task=detection",
                "effdet scale phi=2.5 out=model.json",
                "effdet scale grid=true task=classification data=cifar10 data.root=DIR backbone=lite0 image_size=64",
                "effdet scale alpha=1.2 beta=1.1 gamma=1.15 phi=1.5 backbone=lite0",
            ),
        ),
        Command(
            "search",
            "search for an architecture: propose networks, train each briefly and update the controller",
            trains=True,
            examples=(
                "effdet search trials=48 task=classification data=cifar10 data.root=DIR image_size=48 max_images=2000",
                "effdet search algorithm=evolution cost=latency target=10 task=classification data=folder data.root=DIR",
            ),
        ),
        Command(
            "compare",
            "the difference of two evaluations on the same split, with confidence intervals",
            positional=("first", "second"),
            examples=(
                "effdet compare runs/a runs/b",
                "effdet compare runs/a/evaluation/val runs/b/evaluation/val",
                "effdet compare runs/sweeps/x",
            ),
        ),
        Command(
            "explain",
            "where a model looks (Grad-CAM), and what its neck weighs",
            output="out",
            examples=(
                "effdet explain model=runs/x source=street.jpg",
                "effdet explain model=runs/x source=FOLDER layer=C5 most=1",
                "effdet explain model=runs/x",
            ),
        ),
        Command(
            "replay",
            "repeat a training step that was not finite, and report where it became so",
            positional=("file",),
            examples=("effdet replay runs/x/nonfinite/step_00000120.pt", "effdet replay FILE precision=32-true"),
        ),
        Command(
            "serve",
            "HTTP inference server with a demo page",
            examples=("effdet serve model=runs/x", "effdet serve model=runs/x port=0 device=cuda"),
        ),
        Command(
            "info",
            "list the models, describe one, describe this machine",
            positional=("model",),
            switches=("env",),
            examples=("effdet info", "effdet info tf_efficientdet_d0", "effdet info phi=-2", "effdet info --env"),
        ),
    )
}


_COLUMN = 30
"""Where explanations begin."""


def overview() -> str:
    lines = ["effdet COMMAND key=value …", "", "Commands:"]
    lines += [f"  {command.name:<10} {command.summary}" for command in COMMANDS.values()]
    lines += [
        "",
        "`effdet COMMAND --help` lists a command's keys and choices; `--print` shows the composed configuration and runs",
        "nothing; `--config-dir DIR` adds your own files (DIR/data/mine.yaml is data=mine).",
        "",
        "Examples:",
    ]
    lines += [f"  {command.examples[0]}" for command in COMMANDS.values()]
    return "\n".join(lines)


def command_help(command: Command, schema: Schema) -> str:
    """All keys of a command: its own first, then each group with its choices and the default choice's keys."""
    width = max(72, min(140, shutil.get_terminal_size((120, 24)).columns))
    lines = [f"effdet {command.name} key=value …", "", f"{command.summary[0].upper()}{command.summary[1:]}.", ""]
    lines += ["Examples:", *(f"  {example}" for example in command.examples), "", "Keys, with their defaults:"]
    lines += _keys(schema.primary.keys.values(), width)
    for group, default in schema.groups.items():
        lines += ["", *_group(group, default, schema, width)]
    if command.trains:
        lines += ["", "Every other key is one of `effdet train --help`, and is handed on."]
    lines += ["", "Flags: --print (show the composed configuration), --config-dir DIR (your own files), --help"]
    return "\n".join(lines)


def _group(group: str, default: object, schema: Schema, width: int) -> list[str]:
    from effdet.cli.schema import read_keys

    files = schema.choices(group)
    picked = [str(name) for name in (default if isinstance(default, list) else [default]) if name is not None]
    shown = ", ".join(picked) or "null"
    choices = textwrap.wrap("one of " + ", ".join(files), width - _COLUMN)
    lines = [f"{f'{group}={shown}':<{_COLUMN}}{choices[0]}", *(" " * _COLUMN + line for line in choices[1:])]
    for name in picked:
        if name in files:
            lines += _keys(settable(read_keys(files[name], group)), width)
    return lines


def settable(file: KeyFile) -> list[Key]:
    """Without the ``name`` that a choice sets for itself."""
    return [key for key in file.keys.values() if not key.name.endswith(".name") or key.default == "null"]


def _sentence(meaning: str, remark: str) -> str:
    """What a key means, and what its file remarks on the value."""
    return f"{meaning.rstrip('.')}; {remark}" if meaning and remark else meaning or remark


def _keys(keys: Iterable[Key], width: int) -> list[str]:
    lines = []
    for key in keys:
        kinds = f" ({describe(key.kinds)})" if key.kinds else ""
        head = f"  {key.name}={key.default}"
        body = textwrap.wrap((_sentence(key.meaning, key.remark) + kinds).strip(), width - _COLUMN) or [""]
        if len(head) >= _COLUMN - 1:
            lines.append(head)
            head = ""
        if not (head or body[0]):
            continue
        lines += [f"{head:<{_COLUMN}}{body[0]}".rstrip(), *(" " * _COLUMN + line for line in body[1:])]
    return lines
