"""A step that was not finite: its file, and running it again, to see which module gave the first bad number.

The file is ``nonfinite/step_NNNNNNNN.pt`` in a run's folder. Its values are plain, so that reading it runs no code: the weights
before the step, each of its batches (uint8 images, targets, the seed of its random choices), and what the run saw.

Weights, images, targets and random choices of a replay are those of the run, so that on the same kind of device the same
numbers come out. Two things differ where a run had several processes: the file holds the batch of one of them, and the loss is
normalised by its boxes only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from effdet.model import VisionModel
from effdet.training.checkpoints import read_checkpoint
from effdet.training.errors import CheckpointError
from effdet.training.freezing import freeze
from effdet.training.loader import counted_step
from effdet.training.randomness import set_dropout_rates
from effdet.weights.api import build_described
from heads.protocol import Context
from heads.ranks import Window
from heads.structures import Batch, Targets

KIND = "non-finite step"
_TENSORS = {item.name for item in fields(Targets)}


@dataclass(frozen=True, eq=False)
class NonFiniteBatch:
    """One micro-batch and the seed of its random choices."""

    batch: Batch
    seed: int


@dataclass(frozen=True, eq=False)
class NonFiniteStep:
    """What a run kept of a step that it skipped."""

    path: Path
    step: int
    rank: int
    processes: int
    precision: str
    loss_scale: float
    """By which fp16 multiplied the loss before its gradient; 1 otherwise."""
    channels_last: bool
    freeze: tuple[str, ...]
    dropout: dict[str, float]
    """Probability of each dropout layer in this step, by module name; empty in older files."""
    progress: float
    """Share of the run's steps that were done, as heads see it; 0 in older files, whose heads did not."""
    spec: dict[str, Any]
    """The model's description."""
    weights: dict[str, Tensor]
    """The model's state before the step."""
    loss: float
    """Of the last micro-batch, as the run saw it."""
    grad_norm: float
    batches: tuple[NonFiniteBatch, ...]
    extra: tuple[str, ...] = ()
    """Terms of the run's loss that are not the heads' (a teacher's): a replay computes none of them."""


def batch_values(batch: Batch) -> dict[str, Any]:
    """A batch as plain values on the CPU."""
    targets = {name: getattr(batch.targets, name) for name in _TENSORS}
    return {
        "images": batch.images.cpu(),
        "targets": {name: None if value is None else value.cpu() for name, value in targets.items()},
        "indices": batch.indices.cpu(),
    }


def read_nonfinite_step(path: str | Path) -> NonFiniteStep:
    """Read a kept step.

    Raises:
        CheckpointError: no such file, corrupt, or another kind of file.
    """
    values = read_checkpoint(path)
    if values.get("kind") != KIND:
        raise CheckpointError(
            f"{path} is not a kept step; `effdet replay` takes the files that a training writes to nonfinite/ in its folder"
        )
    try:
        return NonFiniteStep(
            path=Path(path),
            step=int(values["step"]),
            rank=int(values["rank"]),
            processes=int(values["processes"]),
            precision=str(values["precision"]),
            loss_scale=float(values["loss_scale"]),
            channels_last=bool(values["channels_last"]),
            freeze=tuple(map(str, values["freeze"])),
            dropout={str(name): float(p) for name, p in dict(values.get("dropout", {})).items()},
            progress=float(values.get("progress", 0.0)),
            spec=dict(json.loads(values["spec"])),
            weights=dict(values["raw_state_dict"]),
            loss=float(values["loss"]),
            grad_norm=float(values["grad_norm"]),
            batches=tuple(_batch(item) for item in values["batches"]),
            extra=tuple(map(str, values.get("extra", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error})") from None


def _batch(values: Mapping[str, Any]) -> NonFiniteBatch:
    images, targets, indices = values["images"], values["targets"], values["indices"]
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError("a batch without (B, 3, H, W) uint8 images")
    if set(targets) - _TENSORS:
        raise ValueError(f"unknown targets {sorted(set(targets) - _TENSORS)}")
    return NonFiniteBatch(Batch(images, Targets(**targets), indices), int(values["generator_seed"]))


AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Bad:
    """A place with numbers that are not finite."""

    where: str
    """Such as ``output of backbone.stages.2.0.norm``."""
    count: int
    of: int
    """How many numbers there are."""
    before: str = ""
    """What went into it."""

    def __str__(self) -> str:
        return f"{self.where}: {self.count:,} of {self.of:,} numbers are NaN or infinite{self.before}"


@dataclass(frozen=True)
class Replay:
    """What was found, in the order in which a step computes."""

    weights: tuple[Bad, ...]
    """Weights that were not finite before the step."""
    forward: tuple[Bad, ...]
    """Outputs of modules, in running order."""
    terms: dict[str, float]
    """The loss's terms, of the first micro-batch with a bad one, else of the last."""
    backward: tuple[Bad, ...]
    """Gradients at the outputs of modules, in running order (from the loss to the stem)."""
    gradients: tuple[Bad, ...]
    """Gradients of parameters."""
    norm: float
    """Of all gradients together."""

    @property
    def first(self) -> str | None:
        """The first bad place of the step; None where all is finite."""
        for found in (*self.weights[:1], *self.forward[:1]):
            return str(found)
        for name, value in self.terms.items():
            if not _finite(value):
                return f"loss term {name}: {value}, from outputs that are finite"
        for found in (*self.backward[:1], *self.gradients[:1]):
            return str(found)
        return None if _finite(self.norm) else f"norm of all gradients: {self.norm}, though each number is finite"


def described_model(dump: NonFiniteStep, *, trust: bool = False) -> VisionModel:
    """The model as it was before the step; `trust` imports parts of the user's own that the file names.

    Raises:
        UserError: the file describes no model, or its weights don't fit it.
    """
    model = build_described(dump.spec, dump.weights, str(dump.path), trust=trust)
    try:
        model.load_state_dict(dump.weights)
        set_dropout_rates(model, dump.dropout)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{dump.path}: the weights don't fit the model: {' '.join(str(error).split())[:200]}"
        ) from None
    return model.to(memory_format=torch.channels_last) if dump.channels_last else model  # type: ignore[call-overload]


def replay(
    dump: NonFiniteStep, model: VisionModel, *, device: str | torch.device = "cpu", precision: str | None = None
) -> Replay:
    """Compute the step's losses and gradients again; nothing is updated.

    Args:
        model: from :func:`described_model`; moved to `device`.
        precision: another than the run's, as in ``trainer.precision``: does the step survive in it?
    """
    model.to(device)
    held = freeze(model, dump.freeze)
    model.train()
    for layer in held:
        layer.eval()
    precision = precision or dump.precision
    forward: list[Bad] = []
    backward: list[Bad] = []
    terms: dict[str, float] = {}
    scale = (dump.loss_scale if precision == "16-mixed" else 1.0) / len(dump.batches)
    with _watched(model, forward, backward):
        for found in _terms(model, dump, torch.device(device), precision):
            (torch.stack(list(found.values())).sum() * scale).backward()
            if all(map(_finite, terms.values())):
                terms = {name: float(value.detach()) for name, value in found.items()}
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return Replay(
        weights=tuple(_bad(f"weights {name}", value) for name, value in dump.weights.items() if _has_bad(value)),
        forward=tuple(forward),
        terms=terms,
        backward=tuple(backward),
        gradients=tuple(_bad(f"gradient of {name}", value) for name, value in gradients.items() if _has_bad(value)),
        norm=float(torch.nn.utils.get_total_norm(list(gradients.values()))) / scale / len(dump.batches),
    )


def _terms(
    model: VisionModel, dump: NonFiniteStep, device: torch.device, precision: str
) -> Iterator[dict[str, Tensor]]:
    """The loss terms of each micro-batch, divided by what the whole step counts, as in training."""
    kind = AUTOCAST.get(precision)
    batches = [item.batch.to(device) for item in dump.batches]

    def outputs_of(index: int) -> tuple[Any, Context]:
        torch.manual_seed(dump.batches[index].seed)
        images = batches[index].images
        images = images.contiguous(memory_format=torch.channels_last) if dump.channels_last else images
        images = model.preprocess.normalise(images)
        progress = torch.full((), dump.progress, device=images.device)
        return model(images, progress), Context.of(images, dump.progress)

    window: Window | None = None
    for index, batch in enumerate(batches):
        with nullcontext() if kind is None else torch.autocast(device.type, kind, cache_enabled=False):
            outputs, context = outputs_of(index)
            if index == 0 and len(batches) > 1:
                window = counted_step(model, (outputs, context), [each.targets for each in batches], outputs_of)
            with nullcontext() if window is None else window.training(index):
                found = model.loss(outputs, batch.targets, context)
        yield found


@contextmanager
def _watched(model: nn.Module, forward: list[Bad], backward: list[Bad]) -> Iterator[None]:
    """Leaf modules report outputs, and gradients at outputs, that are not finite."""
    handles = [
        module.register_forward_hook(_watch(name, forward, backward))
        for name, module in model.named_modules()
        if name and not any(module.children())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watch(name: str, forward: list[Bad], backward: list[Bad]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return
        if _has_bad(output):
            forward.append(_bad(f"output of {name} ({type(module).__name__})", output, _largest(inputs)))
        if output.requires_grad:
            output.register_hook(at_output)

    def at_output(gradient: Tensor) -> None:
        if _has_bad(gradient):
            backward.append(_bad(f"gradient at the output of {name}", gradient))

    return hook


def _largest(inputs: tuple[Any, ...]) -> str:
    values = [value for value in inputs if isinstance(value, Tensor) and value.is_floating_point() and value.numel()]
    if not values:
        return ""
    if any(map(_has_bad, values)):
        return " (so were some that went in)"
    return f" (went in: up to {max(float(value.detach().abs().max()) for value in values):.3g})"


def _has_bad(value: Tensor) -> bool:
    return value.is_floating_point() and not bool(torch.isfinite(value).all())


def _bad(where: str, value: Tensor, before: str = "") -> Bad:
    return Bad(where, int((~torch.isfinite(value)).sum()), value.numel(), before)


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
