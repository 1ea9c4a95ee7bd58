"""The learning rate as a multiple of its peak, step by step: linear warm-up, then cosine, constant or steps.

The cosine reaches `final` where the run ends, one step after the last, so that no step is lost on a rate of zero.
EfficientDet (arXiv 1911.09070, section 5.1) warms up over the first epoch and then follows a cosine to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from effdet.plugins import TARGET, accepts, check, instantiate, locate
from effdet.training.settings import OptimizerSettings
from heads.structures import UserError


def multiplier(settings: OptimizerSettings, *, steps: int | None, steps_per_epoch: int) -> Callable[[int], float]:
    """The share of the peak rate at optimiser step n (0 for the first).

    Args:
        settings: which schedule.
        steps: optimiser steps of the whole run; None where the run has no known end.
        steps_per_epoch: optimiser steps of one epoch.
    """
    if steps is None and settings.schedule != "constant":
        raise UserError(
            f"optimizer.schedule={settings.schedule} needs to know when the run ends: "
            "set trainer.max_epochs or trainer.max_steps, or optimizer.schedule=constant"
        )
    warmup = warmup_steps(settings, steps=steps, steps_per_epoch=steps_per_epoch)

    def after_warmup(step: int) -> float:
        if settings.schedule == "constant":
            return 1.0
        if settings.schedule == "step":
            passed = sum(step >= share * (steps or 0) for share in settings.milestones)
            return settings.gamma**passed
        done = min((step - warmup) / max((steps or 0) - warmup, 1), 1.0)
        return settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * done))

    def share(step: int) -> float:
        if step < warmup:
            return settings.warmup_from + (1 - settings.warmup_from) * step / warmup
        return after_warmup(step)

    return share


def check_own_schedule(config: Mapping[str, Any]) -> None:
    """Refuse, before any work, a ``_target_`` that :func:`own_schedule` could not build."""
    check(config, "optimizer", **_length(config, 1))
    if locate(config[TARGET]) is ReduceLROnPlateau:
        raise UserError(
            f"optimizer.schedule.{TARGET}={config[TARGET]}: waits for a metric, and schedules step after each optimiser step; "
            "use early_stopping.patience, or a callback of your own"
        )


def own_schedule(config: Mapping[str, Any], optimizer: Optimizer, *, steps: int | None) -> LRScheduler:
    """The schedule of the user's that `config` names, which steps after each optimiser step.

    A target with an argument ``total_steps`` that `config` leaves open is given `steps`, those of the whole run.
    """
    found = instantiate(config, optimizer, **_length(config, steps))
    if not isinstance(found, LRScheduler):
        raise UserError(f"optimizer.schedule.{TARGET}={config[TARGET]}: gives no torch.optim.lr_scheduler.LRScheduler")
    return found


def _length(config: Mapping[str, Any], steps: int | None) -> dict[str, int | None]:
    return {"total_steps": steps} if accepts(config, "total_steps") else {}


def warmup_steps(settings: OptimizerSettings, *, steps: int | None, steps_per_epoch: int) -> int:
    """Steps of warm-up: as asked, but never more than half of the run."""
    asked = settings.warmup_steps
    if asked is None:
        asked = round(settings.warmup_epochs * steps_per_epoch)
    return min(asked, (steps - 1) // 2) if steps else asked
