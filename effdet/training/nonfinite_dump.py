"""The file of a step that was not finite: ``nonfinite/step_NNNNNNNN.pt`` in a run's folder.

Its values are plain, so that reading it runs no code: the weights before the step, each of its batches (uint8 images,
targets, the seed of its random choices), and what the run saw.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from effdet.training.checkpoints import read_checkpoint
from effdet.training.errors import CheckpointError
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
            f"{path} is no kept step; `effdet replay` takes the files that a training writes to nonfinite/ in its folder"
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
