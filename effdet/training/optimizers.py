"""Optimisers and their parameter groups; and the learning rate as a multiple of its peak, step by step.

The cosine reaches `final` where the run ends, one step after the last, so that no step is lost on a rate of zero.
EfficientDet (arXiv 1911.09070, section 5.1) warms up over the first epoch and then follows a cosine to zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from effdet.plugins import TARGET, accepts, check, instantiate, locate
from effdet.training.settings import OptimizerSettings
from heads.structures import UserError


def multiplier(settings: OptimizerSettings, *, steps: int | None, steps_per_epoch: int) -> Callable[[int], float]:
    """The share of the peak rate at optimiser step n (0 for the first).

    Args:
        steps: optimiser steps of the whole run; None where the run has no known end.
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
        begin = max(warmup, round(settings.flat * (steps or 0))) if settings.schedule == "flat_cosine" else warmup
        done = min(max(step - begin, 0) / max((steps or 0) - begin, 1), 1.0)
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
            "use early_stopping.patience, or a user-defined callback"
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


STATES = {"sgd": 1, "adamw": 2, "rmsprop": 2}
"""Tensors that an optimiser keeps for each weight; 2 is assumed of others."""


def peak_lr(settings: OptimizerSettings, step_images: int) -> float:
    """The peak learning rate of a step that averages over `step_images` (batch × accumulation × processes).

    ``lr`` itself where ``base_batch_size`` is None; else ``lr × step_images / base_batch_size``, the linear rule (arXiv
    1706.02677).
    """
    return settings.lr if settings.base_batch_size is None else settings.lr * step_images / settings.base_batch_size


def parameter_groups(
    model: nn.Module, settings: OptimizerSettings, lr: float, extra: nn.Module | None = None
) -> list[dict[str, Any]]:
    """Groups by backbone layer (all one where the rates are) and (decayed or not); frozen parameters are in none.

    Those of `extra`, weights of losses, stand with the rest of the model. Parameters of one dimension or none are not decayed:
    biases, the scales and shifts of norms, BiFPN's fusion weights.
    """
    names = [name for name, _ in model.named_parameters() if name.startswith("backbone.")]
    depths = layer_depths(names) if settings.layer_decay < 1 else dict.fromkeys(names, 0)
    groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name in depths, depths.get(name, 0), parameter.ndim > 1), []).append(parameter)
    if not groups:
        raise UserError("every parameter is frozen: there is nothing to train; shorten freeze=[...]")
    for parameter in () if extra is None else extra.parameters():
        groups.setdefault((False, 0, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * settings.backbone_lr_scale * settings.layer_decay**depth if in_backbone else lr,
            "weight_decay": settings.weight_decay if decayed else 0.0,
            "name": f"{'backbone' if in_backbone else 'rest'}{depth or ''}{'' if decayed else ' (no decay)'}",
        }
        for (in_backbone, depth, decayed), parameters in sorted(groups.items())
    ]


def layer_depths(names: Sequence[str]) -> dict[str, int]:
    """For each parameter of the backbone its layer, counted from 1 for the last block up to the stem's.

    A layer is a block, whose name ends with the first number or numbers in a row (``backbone.stages.S.B``,
    ``backbone.net.layer1.0``), or what is not numbered, such as the stem; names are in the order of the network.
    """
    layers = list(dict.fromkeys(_layer(name) for name in names))
    return {name: len(layers) - layers.index(_layer(name)) for name in names}


def _layer(name: str) -> str:
    found = re.match(r"(?:[^.]*[^.\d][^.]*\.)+?(?:\d+\.)+", name)
    return name[: found.end() - 1] if found else ".".join(name.split(".")[:2])


def build_optimizer(
    model: nn.Module,
    settings: OptimizerSettings,
    *,
    step_images: int,
    fused: bool = False,
    extra: nn.Module | None = None,
) -> Optimizer:
    """The optimiser that `settings` name.

    Args:
        model: its trainable parameters are optimised; names that begin with ``backbone.`` make the backbone.
        step_images: images that one optimiser step averages over, on all processes together.
        extra: losses whose weights are optimised too.
        fused: one kernel for all parameters, which can also skip a step on the device (CPU and CUDA; not for rmsprop).
    """
    lr = peak_lr(settings, step_images)
    groups = parameter_groups(model, settings, lr, extra)
    if settings.target is not None:
        passed = {"lr": lr} if accepts(settings.target, "lr") else {}  # the groups have theirs, but some ask for one
        found = instantiate(settings.target, groups, **passed)
        if not isinstance(found, Optimizer):
            raise UserError(f"optimizer.{TARGET}={settings.target[TARGET]}: gives no torch.optim.Optimizer")
        return found
    if settings.name == "sgd":
        sgd = torch.optim.SGD(groups, lr, momentum=settings.momentum, nesterov=settings.nesterov, **_how(fused))
        if fused and settings.momentum:
            # The fused kernel allocates momentum without clearing it; a first step that is skipped would leave it so.
            for group in sgd.param_groups:
                for parameter in group["params"]:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr, betas=settings.betas, **_how(fused))
    # TensorFlow's recipe for EfficientNet: decay 0.9, epsilon 0.001 (arXiv 1905.11946, section 5.2).
    return torch.optim.RMSprop(groups, lr, alpha=0.9, eps=1e-3, momentum=settings.momentum, foreach=True)


def _how(fused: bool) -> dict[str, bool]:
    return {"fused": True} if fused else {"foreach": True}
