"""``effdet search``: architectures by trial, a table and a plot of the Pareto front, and the best as a model file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.outputs import refuse_model_file
from effdet.cli.overrides import Overrides
from effdet.cli.run import RunResult
from effdet.cli.trainings import trainings
from effdet.search.architecture_search import STUDY, ArchitectureSearch, SearchSettings, summary
from effdet.search.pareto import best_trial, pareto_front
from heads.structures import UserError


def run(config: Config, overrides: Overrides) -> RunResult:
    """Search, print, write."""
    refuse_model_file(config)
    training = config.train
    directory = Path(config.run_dir or f"runs/search-{training.task.name}-{training.data.name}")
    console = Console()
    with _alone(directory, config):
        settings = SearchSettings(**{field.name: config.get(field.name) for field in fields(SearchSettings)})
        found = ArchitectureSearch(settings, trainings("search", config, overrides), directory)
        console.print(
            f"space: {found.space.count:.2e} architectures around {found.base.name} at {found.base.image_size[0]} px; "
            f"target {found.target:.4g} {found.unit}, reward {config.reward}",
            highlight=False,
            soft_wrap=True,
        )
        try:
            trials = found.run()
        except KeyboardInterrupt:
            console.print(
                f"stopped; the same overrides with run_dir={directory} resume=auto go on",
                highlight=False,
                markup=False,
                emoji=False,
            )
            raise
        path = found.write(trials)
        console.print(found.table.terminal(pareto_front(trials), best_trial(trials)))
        console.print(summary(trials), highlight=False, soft_wrap=True)
        console.print(str(directory / "pareto.html"), highlight=False, soft_wrap=True, markup=False, emoji=False)
        print(path)
    top = best_trial(trials)
    return RunResult(directory, {"reward": top and top.reward, found.metric: top and top.accuracy})


@contextmanager
def _alone(directory: Path, config: Config) -> Iterator[None]:
    """The folder, for this process only.

    Raises:
        ConfigError: it holds a study, and no override says what to do with it.
        UserError: another search writes to it.
    """
    if config.resume is not None and config.overwrite:
        raise ConfigError([f"resume={config.resume} overwrite=true: contradict each other; give one of them"])
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"run_dir={directory}: another search is writing to it; wait for it, or name another") from None
    try:
        if (directory / STUDY).exists():
            if config.overwrite:
                for part in ("trials", "models"):
                    shutil.rmtree(directory / part, ignore_errors=True)
                for file in directory.glob(f"{STUDY}*"):
                    file.unlink()
            elif config.resume is None:
                raise ConfigError(
                    [f"run_dir={directory}: holds a study; go on by resume=auto, or replace it by overwrite=true"]
                )
        yield
    finally:
        lock.release()
