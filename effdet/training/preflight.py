"""Pre-flight: seconds of checks before hours of training.

Each question is asked of the real model and the real data. Do targets fed back as predictions score perfectly? Do loaded
weights detect anything before they are trained, do they compute the same in training mode, and do new classes start at the
prior? Is the first loss of fresh heads what their prior predicts, does one step lower the loss, and do gradients reach every
parameter that should learn? A "no" is a :class:`PreflightError` that names the cause and what to do. The model comes out
exactly as it went in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from effdet.tasks import kits_of
from effdet.training.freezing import freeze
from effdet.training.randomness import without_dropout
from effdet.training.starting import LEAST, Agreement, Detected, Start, agreement
from heads.protocol import Context
from heads.structures import Batch, Targets, UserError

PERFECT = 0.999
"""AP or mIoU that the targets themselves must reach; what is missing to 1 would be missing from every result."""
STEP_SHARE = 0.05
"""The step tries to lower the loss by this share, to first order."""
FACTOR = 1.5
"""How far a fresh head's first loss may lie from its formula, either way. Measured on COCO images with
phi -4 and b0 to b2: within 0.2 %; a head that has lost its prior is off by more than tenfold."""
NEW_ROWS = 1.2
"""How far above the prior's the class loss of new classes may start beside carried ones. Below is fine."""
ANYWAY = "preflight=false trains all the same"


class PreflightError(UserError):
    """Training would not work; the text says why, and what to do."""


@dataclass(frozen=True)
class Preflight:
    """What was found, for the log."""

    loss: float
    """Of the batch before the step."""
    stepped: float
    """Of the same batch after the step."""
    expected: Mapping[str, float]
    """What the prior predicts, by ``HEAD/TERM``, for heads with fresh weights."""
    oracle: Mapping[str, float]
    """Metrics of the targets fed back."""
    first: Mapping[str, float]
    """What was found in place of `expected`."""
    modes: Agreement | None = None
    """How far training and evaluation mode agree, where weights were loaded."""
    new: Mapping[str, float] | None = None
    """By head: class loss of the new classes, as a share of what the prior predicts."""
    detected: Detected | None = None
    """What the loaded weights find before training."""

    def __str__(self) -> str:
        parts = []
        if self.oracle:
            scores = ", ".join(f"{name} {score:.3f}" for name, score in self.oracle.items())
            parts.append(f"targets fed back score {scores}")
        if self.detected is not None:
            parts.append(f"the weights start at {self.detected}")
        if self.modes is not None:
            parts.append(f"training and evaluation mode agree ({self.modes})")
        for head, share in (self.new or {}).items():
            parts.append(f"the class loss of {head}'s new classes is {share:.2f} of the prior's")
        terms = "; ".join(
            f"{term} {self.first[term]:.2f}, expected {value:.2f}" for term, value in self.expected.items()
        )
        expected = f" ({terms})" if terms else ""
        parts.append(f"first loss {self.loss:.3f}{expected}, {self.stepped:.3f} after one step")
        return "pre-flight: " + "; ".join(parts)


def preflight(
    model: nn.Module,
    batch: Batch,
    *,
    start: Start | None = None,
    frozen: Sequence[str] = (),
    oracle: Callable[[], Mapping[str, float]] | None = None,
    detected: Callable[[], Detected | None] | None = None,
    device: str | torch.device = "cpu",
) -> Preflight:
    """Check `model` on one training batch.

    Args:
        model: a `VisionModel`; its weights, statistics and mode are the same afterwards.
        batch: a few training images; with boxes among them, the checks say more.
        start: what was loaded; None for random weights.
        frozen: the parts that will not learn, as ``freeze=`` names them.
        oracle: metrics that the evaluation gives to the targets themselves, for those of which there is truth to score.
        detected: evaluates the weights as they are, where they know classes of the data.

    Raises:
        PreflightError: the first check that fails.
    """
    start = Start() if start is None else start
    scores = {} if oracle is None else dict(oracle())
    for name, score in scores.items():
        if score < PERFECT:
            raise PreflightError(
                f"the val annotations, fed back as perfect predictions, score {name} {score:.3f} instead of 1: boxes, ids "
                f"or sizes are inconsistent; effdet doctor on this data says where; preflight=false trains all the same"
            )
    home = next(model.parameters()).device
    found = None if detected is None else detected()
    if found is not None and found.nothing:
        raise PreflightError(
            f"the weights of {start.source} detect nothing of this data before training: {found}. The classes of these "
            f"names mean something else here, the file was made for other pixels or padding (conventions=NAME), or it was "
            f"never trained. weights=NAME takes another file; {ANYWAY}"
        )
    with _unchanged(model), torch.enable_grad():
        held = freeze(model, frozen)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise PreflightError(
                f"no parameter learns: freeze={list(frozen)} leaves nothing to train; take a part out of it"
            )
        model.to(device)
        moved = batch.to(device)
        modes = _check_modes(model, moved, start, held)
        model.train()
        for module in held:
            module.eval()
        outputs, context = _outputs(model, moved)
        terms: dict[str, Tensor] = model.loss(outputs, moved.targets, context)  # type: ignore[operator]
        _check_finite(model, terms)
        expected, first = _check_first(model, outputs, moved.targets, context, start)
        new = _check_new(model, outputs, moved.targets, start)
        before = torch.stack(list(terms.values())).sum()
        fixed = model.assign(outputs, moved.targets, context)  # type: ignore[operator]
        before.backward()
        _check_gradients(model)
        after = _stepped(model, moved, before.detach(), fixed)
    model.to(home)
    return Preflight(before.item(), after, expected, scores, first, modes, new, found)


def _normalised(model: Any, batch: Batch) -> Tensor:
    return model.preprocess.normalise(batch.images.contiguous(memory_format=torch.channels_last))


def _outputs(model: Any, batch: Batch) -> tuple[dict[str, Any], Context]:
    """As in the first training step, when nothing is done yet."""
    images = _normalised(model, batch)
    progress = torch.zeros((), device=images.device)
    return model(images, progress), Context.of(images, 0.0)


def _check_modes(model: Any, batch: Batch, start: Start, held: Sequence[nn.Module]) -> Agreement | None:
    found = agreement(model, _normalised(model, batch), start, held)
    if found is None or found.enough:
        return found
    raise PreflightError(
        f"the weights of {start.source} compute something else in training mode than in evaluation mode (correlation {found}; "
        f"mean {found.mean:.2f}, expected at least {LEAST[found.kind]:g}): their BatchNorm statistics are missing (folded "
        f"away) or those of another model. Load a file that was not folded or exported; or freeze=bn keeps what they compute; "
        f"{ANYWAY}"
    )


def _check_finite(model: nn.Module, terms: dict[str, Tensor]) -> None:
    for name, value in terms.items():
        if math.isfinite(value.item()):
            continue
        broken = [key for key, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
        cause = (
            f"the weights are broken ({broken[0]} and {len(broken) - 1} more): start from another file"
            if broken
            else "all weights are finite, so look for broken boxes (effdet doctor), or for loss weights that are too large"
        )
        raise PreflightError(f"the first loss {name} is {value.item()}: {cause}")


@torch.no_grad()
def _check_first(
    model: Any, outputs: dict[str, Any], targets: Targets, context: Context, start: Start
) -> tuple[dict[str, float], dict[str, float]]:
    """The loss of each fresh head, before it is weighed against others', held against its prior's prediction."""
    expected, losses = {}, {}
    for name, kit in kits_of(model).items():
        head = model.heads[name]
        first = kit.first_loss(head, outputs[name], targets) if start.is_fresh(name) else None
        if first is None:
            continue
        found = float(head.loss(outputs[name], targets, context.reading(head, outputs))[first.term])
        if not first.value / FACTOR <= found <= first.value * FACTOR:
            raise PreflightError(
                f"the first loss {name}/{first.term} is {found:.3f} where {first.meaning} {first.value:.3f}: "
                f"{first.causes}; {ANYWAY}"
            )
        expected[f"{name}/{first.term}"], losses[f"{name}/{first.term}"] = first.value, found
    return expected, losses


@torch.no_grad()
def _check_new(model: Any, outputs: dict[str, Any], targets: Targets, start: Start) -> dict[str, float]:
    """The class loss of new classes in a head that was loaded, as a share of what the focal prior predicts."""
    shares = {}
    for name, kit in kits_of(model).items():
        rows = start.fresh.get(name, ())
        losses = kit.new_rows(model.heads[name], outputs[name], targets, rows) if rows else None
        if losses is None:
            continue
        found, predicted = losses
        shares[name] = share = found / predicted
        if not share <= NEW_ROWS:
            names = [str(model.classes[name].names[row]) for row in rows]
            raise PreflightError(
                f"the class loss of the new classes ({', '.join(names[:4])}{', …' if len(names) > 4 else ''}) starts at "
                f"{share:.1f} times what the focal prior predicts: their rows are not at the prior, or the features of "
                f"{start.source} are far too large. Load it anew by weights=, which starts new rows at the prior; {ANYWAY}"
            )
    return shares


def _check_gradients(model: nn.Module) -> None:
    learning = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    unreached = [name for name, parameter in learning if parameter.grad is None]
    if unreached:
        raise PreflightError(
            f"no gradient reaches {len(unreached)} of {len(learning)} parameters, first {unreached[0]}: a part of the "
            f"model takes no part in the loss. Leave it out of the model, or out of training by freeze=; {ANYWAY}"
        )
    broken = [name for name, parameter in learning if not torch.isfinite(parameter.grad).all()]  # type: ignore[arg-type]
    if broken:
        raise PreflightError(
            f"the first gradient of {broken[0]} is not finite ({len(broken)} parameters in all): the loss "
            f"overflows on this batch; look for broken boxes (effdet doctor), or take smaller loss weights"
        )


def _stepped(model: nn.Module, batch: Batch, loss: Tensor, assignments: Mapping[str, Any]) -> float:
    """The loss after a step along the gradient that should lower it by `STEP_SHARE`; shorter ones where that is too far.

    `assignments` are those of `loss`: targets that follow the predictions would move with the step.
    """
    gradients = [(p, p.grad) for p in model.parameters() if p.requires_grad and p.grad is not None]
    length = sum(float(gradient.double().square().sum()) for _, gradient in gradients)
    if length == 0:
        raise PreflightError(
            f"the loss is {loss.item():.4f} and its gradient is zero everywhere: nothing can be learnt from "
            f"{'these images, none of which is labelled' if loss.item() == 0 else 'this batch'}; {ANYWAY}"
        )
    taken, step, after = 0.0, STEP_SHARE * loss.item() / length, math.inf
    with torch.no_grad():
        for _ in range(8):
            for parameter, gradient in gradients:
                parameter.add_(gradient, alpha=taken - step)
            taken = step
            outputs, context = _outputs(model, batch)
            context = replace(context, assignments=assignments)
            after = float(sum(model.loss(outputs, batch.targets, context).values()))  # type: ignore[operator]
            if after < loss.item():
                return after
            step /= 4
    raise PreflightError(
        f"no step along the gradient lowers the loss of one batch ({loss.item():.4f} before, {after:.4f} after): the loss "
        f"and its gradient disagree. Look for a custom layer or loss with a wrong gradient; {ANYWAY}"
    )


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put weights, statistics, gradients, modes and random state back; dropout of every kind is off inside."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    modes = [(module, module.training) for module in model.modules()]
    learning = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with torch.random.fork_rng(), without_dropout(model):
            yield
    finally:
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        for parameter, learns in learning:
            parameter.requires_grad_(learns)
        for module, training in modes:
            module.training = training
