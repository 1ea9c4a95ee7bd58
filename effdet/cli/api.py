"""``effdet.train([...])`` and ``effdet.evaluate([...])``: the command line's door for notebooks and tests."""

from __future__ import annotations

from collections.abc import Sequence

from effdet.cli.app import run
from effdet.cli.registry import COMMANDS
from effdet.cli.run import RunResult


def train(words: Sequence[str] = ()) -> RunResult:
    """Train as ``effdet train WORDS``; errors are raised instead of printed.

    Example::

        run = effdet.train(["task=detection", "backbone=b0", "trainer.max_epochs=10"])
        print(run.metrics["AP"], run.run_dir)
    """
    return _run("train", words)


def evaluate(words: Sequence[str]) -> RunResult:
    """Measure as ``effdet evaluate WORDS``."""
    return _run("evaluate", words)


def _run(name: str, words: Sequence[str]) -> RunResult:
    if isinstance(words, str):
        raise TypeError(f"effdet.{name} takes a list of words, effdet.{name}([{words!r}])")
    result = run(COMMANDS[name], list(words))
    return result if isinstance(result, RunResult) else RunResult(None, {})
