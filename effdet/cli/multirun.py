"""``-m``: many runs by one command. Hydra's sweeper makes the jobs, its launcher starts them, and a table compares them.

The same command again goes on: a job that has its result is not started, one that was interrupted resumes. That is why the
default folder is named by the command, not by the time. ``HydraConfig`` is set only here and in the processes of launchers,
never in one that trains.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effdet.addresses import without_credentials, without_credentials_in
from effdet.cli.compose import compose, hydra_over, in_one_line, swept_overrides, swept_values
from effdet.cli.overrides import ConfigError, Overrides, quote
from effdet.cli.sweep import Job, interrupted_by, override_of

if TYPE_CHECKING:
    from effdet.cli.app import Command


ROOT = Path("runs") / "sweeps"
PROGRAM = (sys.executable, "-m", "effdet")
"""What each job starts."""
HYDRAS_DEFAULT = "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"
SCALES = ("hydra/sweeper", "hydra.sweeper.")
"""Hydra's overrides that decide which jobs there are; the others only say how they are run."""


Check = Callable[["Command", Overrides], object]
"""Composes the configuration of one run, or raises :class:`ConfigError`."""


def multirun(command: Command, asked: Overrides, check: Check) -> int:
    """Run the jobs of `asked`, write and print the table over them; 0 where every job has its result.

    Args:
        command: of the jobs.
        overrides: the overrides with their choices.
        check: of each job's configuration.

    Raises:
        ConfigError: with the problems of all jobs, before the first starts.
    """
    problems = [*asked.problems, *_refused(command, asked), *_missing_launchers(asked)]
    if problems:
        raise ConfigError(problems)
    assert command.output is not None
    primary = asked.config_name or command.name
    swept = swept_overrides(command.name, asked)
    overrides = [*asked.hydra, *swept]
    with hydra_app(command.name, asked) as hydra:
        own_sweeper = any(text.startswith(SCALES) for text in asked.hydra)
        check_jobs(check, command, asked, expected_jobs(swept, basic=not own_sweeper))  # our lines come before Hydra's
        master = hydra.compose_config(primary, [*overrides, "hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)
        sweep = OmegaConf.to_container(master.hydra.sweep, resolve=False)
        if isinstance(sweep, dict) and sweep["dir"] == HYDRAS_DEFAULT:
            overrides.append(f"hydra.sweep.dir={quote(str(ROOT / default_name(command.name, asked)))}")
        basic = str(master.hydra.sweeper._target_).endswith(f".{BasicSweeper.__name__}")
        if basic and (own_sweeper or master.hydra.sweeper.params):
            check_jobs(check, command, asked, _jobs(hydra, master))
        job = Job(command.name, tuple(asked.flags()), command.output, command.resume, keep_going=basic, program=PROGRAM)
        if not any(text.startswith("hydra.job.name=") for text in asked.hydra):
            overrides.append(f"hydra.job.name={command.name}")
        overrides.append("hydra.mode=MULTIRUN")
        directory = Path(hydra.compose_config(primary, overrides, run_mode=RunMode.MULTIRUN).hydra.sweep.dir)
        with _stopped_like_ctrl_c():
            hydra.multirun(primary, job, overrides)
    from effdet.cli.sweep import finish

    return finish(directory)


def default_name(command: str, asked: Overrides) -> str:
    """Of the sweep's folder: the same for the same command, whatever launcher runs it."""
    swept = [item.key.rpartition(".")[2] for item in asked.items if swept_values(item.value) != [item.value]]
    decides = [text for text in asked.hydra if text.startswith(SCALES)]
    text = "\0".join([command, *asked.flags(), *map(str, asked.items), *decides])
    return "-".join([command, *swept[:4], hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]])


def check_jobs(check: Check, command: Command, asked: Overrides, jobs: Sequence[Sequence[str]]) -> None:
    """Check the configuration of each job, given by its overrides.

    Raises:
        ConfigError: with the problems of all.
    """
    problems: list[str] = []
    for job in jobs:
        single = replace(asked, items=tuple(override_of(override) for override in job), multirun=False, hydra=())
        try:
            check(command, single)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def expected_jobs(overrides: Sequence[str], *, basic: bool) -> list[list[str]]:
    """The jobs as far as they are known without Hydra's configuration: all of a grid, or the first choices of another sweeper.

    Ranges without steps and patterns over groups (`glob`) are left out.
    """
    parsed = [
        override
        for override in map(_parsed, overrides)
        if not override.is_sweep_override() or override.is_discrete_sweep()
    ]
    jobs = BasicSweeper.split_arguments(parsed, None)[0]
    return jobs if basic else jobs[:1]


def _parsed(override: str) -> Override:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        text = "the value could not be read; text with special characters needs quotes"
        raise ConfigError([f"{override.removeprefix('++')}: {text}"]) from None


def _jobs(hydra: Hydra, master: DictConfig) -> list[list[str]]:
    """The jobs of Hydra's basic sweeper, each as its overrides."""
    params = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    parsed = parser.parse_overrides([*params, *map(str, master.hydra.overrides.task)])
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "submitit_local": ("hydra_submitit_launcher", "submitit"),
    "submitit_slurm": ("hydra_submitit_launcher", "submitit"),
    "ray": ("hydra_ray_launcher", "ray-launcher"),
}
"""The package behind ``hydra/launcher=NAME``, and our extra that installs it."""


def _missing_launchers(asked: Overrides) -> list[str]:
    named = (text.partition("=")[2] for text in asked.hydra if text.partition("=")[0] == "hydra/launcher")
    return [
        f"hydra/launcher={name}: is not installed; pip install 'effdet-lightning[{LAUNCHERS[name][1]}]'"
        for name in named
        if name in LAUNCHERS and importlib.util.find_spec(f"hydra_plugins.{LAUNCHERS[name][0]}") is None
    ]


def _refused(command: Command, asked: Overrides) -> list[str]:
    if command.output is None:
        return [f"effdet {command.name} -m: {command.name} writes no folder of results that jobs could have"]
    own = {command.output, *(text.partition("=")[0] for text in command.resume), "overwrite"}
    problems = [
        f"{item}: under -m each job has a folder in hydra.sweep.dir, and goes on where it was interrupted; leave it out"
        for item in asked.items
        if item.key in own
    ]
    return problems + [
        f"{item.key}={without_credentials(value)}: carries a credential, which Hydra would write into the sweep's files; "
        "run it without -m"
        for item in asked.items
        for value in swept_values(item.value)
        if without_credentials(value) != value
    ]


@contextlib.contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """Signals that ask to stop end the jobs first, which save themselves."""
    signals = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = [(number, signal.signal(number, interrupted_by)) for number in signals]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def hydra_app(name: str, asked: Overrides) -> Iterator[Hydra]:
    """Hydra over ``conf/`` and the user's folder; `name` is the job's name.

    Raises:
        ConfigError: Hydra found an error, in one line.
    """
    try:
        with warnings.catch_warnings(), hydra_over(asked.config_dir, job=name) as hydra:
            warnings.filterwarnings("ignore", module="hydra")
            yield hydra
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError([in_one_line(error)]) from error
    finally:
        HydraConfig.instance().cfg = None


def show(name: str, asked: Overrides) -> None:
    """``--cfg job|hydra|all`` and ``--info PART`` of the command `name`, as Hydra prints them, without credentials.

    Raises:
        ConfigError: an override is wrong, or `asked.package` is not there.
    """
    overrides = [*asked.hydra, *compose(name, asked).overrides]
    primary = asked.config_name or name
    text = io.StringIO()
    with hydra_app(name, asked) as hydra, contextlib.redirect_stdout(text):
        if asked.cfg is None:
            hydra.show_info(str(asked.info), config_name=primary, overrides=overrides)
        else:
            complaint = io.StringIO()
            try:
                with contextlib.redirect_stderr(complaint):
                    hydra.show_cfg(primary, overrides, asked.cfg, asked.package, asked.resolve)
            except SystemExit:
                raise ConfigError([f"--package {asked.package}: {complaint.getvalue().strip()}"]) from None
    print(without_credentials_in(text.getvalue()), end="")
