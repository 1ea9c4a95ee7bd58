"""Pre-flight: seconds of checks before hours of training.

Four questions, each asked of the real model and the real data: do targets fed back as predictions score perfectly, is the
first loss what the focal prior predicts, does one step lower the loss, and do gradients reach every parameter that should
learn. A "no" is a :class:`PreflightError` that names the cause. The model comes out exactly as it went in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbones.layers import DropPath
from heads.detection.head import PRIOR
from heads.structures import Batch, UserError

PERFECT = 0.999
"""AP that the targets themselves must reach; what is missing to 1 would be missing from every result."""
PRIOR_FACTOR = 10.0
"""How far the first class loss may lie from the prior's prediction, either way: random features spread the logits around
the prior, which makes some factors; a head that has lost its prior is off by thousands."""
STEP_SHARE = 0.05
"""The step tries to lower the loss by this share, to first order."""


class PreflightError(UserError):
    """Training would not work; the text says why."""


@dataclass(frozen=True)
class Preflight:
    """What was found, for the log."""

    loss: float
    """Of the batch before the step."""
    stepped: float
    """Of the same batch after the step."""
    expected_class_loss: float | None
    """What the prior predicts, for a detection head with fresh weights."""
    oracle: float | None
    """AP of the targets fed back; None where nothing was checked."""

    def __str__(self) -> str:
        oracle = "" if self.oracle is None else f"targets fed back score AP {self.oracle:.3f}; "
        expected = "" if self.expected_class_loss is None else f" (class part expected {self.expected_class_loss:.2f})"
        return f"pre-flight: {oracle}first loss {self.loss:.3f}{expected}, {self.stepped:.3f} after one step"


def preflight(
    model: nn.Module,
    batch: Batch,
    *,
    fresh_head: bool = True,
    oracle: Callable[[], float | None] | None = None,
    device: str | torch.device = "cpu",
) -> Preflight:
    """Check `model` on one training batch.

    Args:
        model: a `VisionModel`; its weights, statistics and mode are the same afterwards.
        batch: a few training pictures; with boxes among them, the checks say more.
        fresh_head: the detection head has its initial weights, so that its first loss is predictable.
        oracle: AP that the evaluation gives to the targets themselves, or None where there is no truth to score.
        device: where to compute.

    Raises:
        PreflightError: the first check that fails.
    """
    score = None if oracle is None else oracle()
    if score is not None and score < PERFECT:
        raise PreflightError(
            f"the val annotations, fed back as perfect predictions, score AP {score:.3f} instead of 1: boxes, ids or "
            f"sizes are inconsistent, or a picture holds over 100 boxes of a class; preflight=false trains all the same"
        )
    home = next(model.parameters()).device
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise PreflightError("no parameter learns: freeze= leaves nothing to train")
    with _unchanged(model), torch.enable_grad():
        model.to(device).train()
        moved = batch.to(device)
        terms = _loss(model, moved)
        _check_finite(terms)
        expected = _prior_loss(model, moved) if fresh_head else None
        _check_prior(terms, expected)
        before = torch.stack(list(terms.values())).sum()
        before.backward()
        _check_gradients(model)
        after = _stepped(model, moved, before.detach())
    model.to(home)
    return Preflight(before.item(), after, expected, score)


def _loss(model: Any, batch: Batch) -> dict[str, Tensor]:
    images = model.preprocess.normalise(batch.images.contiguous(memory_format=torch.channels_last))
    return model.loss(model(images), batch.targets)


def _check_finite(terms: dict[str, Tensor]) -> None:
    for name, value in terms.items():
        if not math.isfinite(value.item()):
            raise PreflightError(f"the first loss {name} is {value.item()}: look for broken weights or boxes")


def _prior_loss(model: Any, batch: Batch) -> float | None:
    """Class loss of a detection head whose every entry says the prior: the focal loss written out, over positives."""
    head = dict(model.heads.items()).get("detection")
    targets = batch.targets
    if head is None or targets.boxes is None or targets.labels is None or targets.has_boxes is not None:
        return None
    with torch.no_grad():
        output = head.forward(_pyramid(model, batch), tuple(batch.images.shape[2:]))
        positives = int((head.match(output, targets.boxes.float(), targets.labels) >= 0).sum())
    settings, prior = head.loss_settings, PRIOR
    entries = output.class_logits.numel()
    negative = (1 - settings.alpha) * prior**settings.gamma * -math.log(1 - prior)
    positive = settings.alpha * (1 - prior) ** settings.gamma * -math.log(prior)
    total = (entries - positives) * negative + positives * positive
    return settings.class_weight * total / max(positives, 1)


def _pyramid(model: Any, batch: Batch) -> dict[str, Tensor]:
    images = model.preprocess.normalise(batch.images)
    features = {f"C{number}": x for number, x in enumerate(model.backbone(images), start=1)}
    return features | model.neck(features)


def _check_prior(terms: dict[str, Tensor], expected: float | None) -> None:
    if expected is None:
        return
    found = terms["detection/class"].item()
    if not expected / PRIOR_FACTOR <= found <= expected * PRIOR_FACTOR:
        raise PreflightError(
            f"the first class loss is {found:.3f} where the focal prior predicts {expected:.3f}: the head does not start "
            f"at its prior, or labels lie outside the classes"
        )


def _check_gradients(model: nn.Module) -> None:
    learning = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    unreached = [name for name, parameter in learning if parameter.grad is None]
    if unreached:
        raise PreflightError(
            f"no gradient reaches {len(unreached)} of {len(learning)} parameters, first {unreached[0]}: a part of the "
            f"model takes no part in the loss"
        )
    broken = [name for name, parameter in learning if not torch.isfinite(parameter.grad).all()]  # type: ignore[arg-type]
    if broken:
        raise PreflightError(f"the first gradient of {broken[0]} is not finite ({len(broken)} parameters in all)")


def _stepped(model: nn.Module, batch: Batch, loss: Tensor) -> float:
    """The loss after a step along the gradient that should lower it by `STEP_SHARE`; shorter ones where that is too far."""
    gradients = [(p, p.grad) for p in model.parameters() if p.requires_grad and p.grad is not None]
    length = sum(float(gradient.double().square().sum()) for _, gradient in gradients)
    if length == 0:
        raise PreflightError(
            f"the loss is {loss.item():.4f} and its gradient is zero everywhere: nothing can be learnt"
        )
    taken, step, after = 0.0, STEP_SHARE * loss.item() / length, math.inf
    with torch.no_grad():
        for _ in range(8):
            for parameter, gradient in gradients:
                parameter.add_(gradient, alpha=taken - step)
            taken = step
            after = float(sum(_loss(model, batch).values()))
            if after < loss.item():
                return after
            step /= 4
    raise PreflightError(
        f"no step along the gradient lowers the loss of one batch ({loss.item():.4f} before, {after:.4f} after): the loss "
        f"and its gradient disagree"
    )


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put weights, statistics, gradients, modes and random state back; chance (drop-path, dropout) is off inside."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    modes = [(module, module.training) for module in model.modules()]
    rates = [(module, module.rate) for module in model.modules() if isinstance(module, DropPath)]
    dropouts = [(module, module.p) for module in model.modules() if isinstance(module, nn.Dropout)]
    try:
        with torch.random.fork_rng():
            for layer, _ in rates:
                layer.rate = 0.0
            for layer, _ in dropouts:
                layer.p = 0.0
            yield
    finally:
        for layer, rate in rates:
            layer.rate = rate
        for layer, p in dropouts:
            layer.p = p
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        for module, training in modes:
            module.training = training
