"""A training as a function of its words, for processes that find it by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRELOAD = ("effdet.cli.commands.train",)
"""What every training imports."""
QUIET = {"progress": "false", "logger": "null", "report": "false", "preflight": "false", "weights": "none"}
"""Words of a training that is one of many, where the user says nothing else."""


def train_words(words: tuple[str, ...]) -> Mapping[str, Any]:
    """Train as ``effdet train WORDS``; gives the metrics of the last evaluation."""
    from effdet.cli.api import train

    return train(list(words)).metrics
