"""Pre-flight: seconds of checks before hours of training.

Four questions, each asked of the real model and the real data: do targets fed back as predictions score perfectly, is the
first loss what the initialisation predicts, does one step lower the loss, and do gradients reach every parameter that should
learn. A "no" is a :class:`PreflightError` that names the cause. The model comes out exactly as it went in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effdet.training.first_loss import FIRST_LOSSES
from effdet.training.randomness import without_dropout
from heads.structures import Batch, Targets, UserError

PERFECT = 0.999
"""AP or mIoU that the targets themselves must reach; what is missing to 1 would be missing from every result."""
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
    expected: Mapping[str, float]
    """What the initialisation predicts, by ``HEAD/TERM``, for heads with fresh weights."""
    oracle: Mapping[str, float]
    """Metrics of the targets fed back."""

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {score:.3f}" for name, score in self.oracle.items())
        oracle = f"targets fed back score {scores}; " if scores else ""
        terms = ", ".join(f"{term} expected {value:.2f}" for term, value in self.expected.items())
        expected = f" ({terms})" if terms else ""
        return f"pre-flight: {oracle}first loss {self.loss:.3f}{expected}, {self.stepped:.3f} after one step"


def preflight(
    model: nn.Module,
    batch: Batch,
    *,
    fresh_head: bool = True,
    oracle: Callable[[], Mapping[str, float]] | None = None,
    device: str | torch.device = "cpu",
) -> Preflight:
    """Check `model` on one training batch.

    Args:
        model: a `VisionModel`; its weights, statistics and mode are the same afterwards.
        batch: a few training pictures; with boxes among them, the checks say more.
        fresh_head: the heads have their initial weights, so that their first losses are predictable.
        oracle: metrics that the evaluation gives to the targets themselves, for those of which there is truth to score.
        device: where to compute.

    Raises:
        PreflightError: the first check that fails.
    """
    scores = {} if oracle is None else dict(oracle())
    for name, score in scores.items():
        if score < PERFECT:
            raise PreflightError(
                f"the val annotations, fed back as perfect predictions, score {name} {score:.3f} instead of 1: boxes, ids "
                f"or sizes are inconsistent, or a picture holds over 100 boxes of a class; preflight=false trains all the "
                f"same"
            )
    home = next(model.parameters()).device
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise PreflightError("no parameter learns: freeze= leaves nothing to train")
    with _unchanged(model), torch.enable_grad():
        model.to(device).train()
        moved = batch.to(device)
        outputs = _outputs(model, moved)
        terms: dict[str, Tensor] = model.loss(outputs, moved.targets)  # type: ignore[operator]
        _check_finite(terms)
        expected = _check_first(model, outputs, moved.targets) if fresh_head else {}
        before = torch.stack(list(terms.values())).sum()
        before.backward()
        _check_gradients(model)
        after = _stepped(model, moved, before.detach())
    model.to(home)
    return Preflight(before.item(), after, expected, scores)


def _outputs(model: Any, batch: Batch) -> dict[str, Any]:
    return model(model.preprocess.normalise(batch.images.contiguous(memory_format=torch.channels_last)))


def _loss(model: Any, batch: Batch) -> dict[str, Tensor]:
    return model.loss(_outputs(model, batch), batch.targets)


def _check_finite(terms: dict[str, Tensor]) -> None:
    for name, value in terms.items():
        if not math.isfinite(value.item()):
            raise PreflightError(f"the first loss {name} is {value.item()}: look for broken weights or boxes")


@torch.no_grad()
def _check_first(model: Any, outputs: dict[str, Any], targets: Targets) -> dict[str, float]:
    """Each head's loss, before it is weighed against others', held against its initialisation's prediction."""
    expected = {}
    for name, head in model.heads.items():
        predict = FIRST_LOSSES.get(name)
        first = None if predict is None else predict(head, outputs[name], targets)
        if first is None:
            continue
        found = float(head.loss(outputs[name], targets)[first.term])
        if not first.value / first.factor <= found <= first.value * first.factor:
            raise PreflightError(
                f"the first loss {name}/{first.term} is {found:.3f} where {first.meaning} {first.value:.3f}: {first.causes}"
            )
        expected[f"{name}/{first.term}"] = first.value
    return expected


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
    """Put weights, statistics, gradients, modes and random state back; dropout of every kind is off inside."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(), without_dropout(model):
            yield
    finally:
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        for module, training in modes:
            module.training = training
