"""What changes in the course of a run, epoch by epoch: callbacks made from the configuration."""

from __future__ import annotations

from functools import partial
from typing import Any

from lightning.pytorch import Callback

from effdet.cli.assemble import planned_epochs, progression
from effdet.cli.config import Config
from effdet.data import Progression
from effdet.model import VisionModel
from effdet.training.callbacks.course import DropoutCourse, HeadsFirst
from heads.classification import ClassificationHead


def course(config: Config, model: VisionModel) -> list[Callback]:
    """Callbacks for ``head_epochs`` and ``progressive``; none where both are off."""
    found: list[Callback] = []
    if config.head_epochs:
        found.append(HeadsFirst(config.head_epochs))
    growth, epochs = progression(config), planned_epochs(config)
    for name, head in model.heads.items():
        if growth.stages > 1 and isinstance(head, ClassificationHead):
            rate = partial(_dropout, growth, epochs, head.dropout.p)
            found.append(DropoutCourse(name, rate))
    return found


def _dropout(growth: Progression, epochs: int | None, final: float, epoch: int) -> float:
    return growth.dropout_at(final, growth.stage(epoch, epochs))


def course_facts(config: Config) -> dict[str, Any]:
    """What of it changes the steps of a run, for its resume."""
    facts: dict[str, Any] = {}
    if config.head_epochs:
        facts["head_epochs"] = config.head_epochs
    if config.progressive.stages > 1:
        facts["progressive"] = {**config.get("progressive"), "epochs": planned_epochs(config)}
    return facts
