"""``effdet.train([...])`` and ``effdet.evaluate([...])``: the command line's Python API, for notebooks and tests."""

from __future__ import annotations

from collections.abc import Sequence

from effdet.cli.app import run
from effdet.cli.registry import COMMANDS
from effdet.cli.run import RunResult


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
    result = run(COMMANDS[name], list(overrides))
    return result if isinstance(result, RunResult) else RunResult(None, {})
