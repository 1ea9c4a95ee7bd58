"""The trainings that a study starts, as the layer above describes them: it alone knows the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from effdet.model import Architecture, ModelSpec
from effdet.search.executor import Run


@dataclass(frozen=True)
class Trainings:
    """What all trainings of a study share."""

    base: Callable[[], Architecture]
    """The architecture that the study starts from.

    Raises:
        UserError: none was chosen that can be scaled.
    """
    published: Callable[[float], Architecture]
    """The architecture of a phi by published scaling, at the input size of the task."""
    spec: Callable[[Architecture], ModelSpec]
    """The whole model of an architecture: with the heads, options and number of classes of the study."""
    overrides: Callable[[Mapping[str, object]], tuple[str, ...]]
    """Dotted keys and values -> the arguments of a training that has them beside what the user wrote."""
    described: Any
    """What the user wrote for the trainings, as plain values: it decides their results."""
    run: Run
    """Trains by arguments and returns the metrics of the last evaluation; a function of a module."""
    task: str
    metric: str
    """The chief metric of the task."""
    seed: int
    device: str
    progress: bool = True
    preload: tuple[str, ...] = ()
    """Modules that every training imports."""
