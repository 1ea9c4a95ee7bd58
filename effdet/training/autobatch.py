"""``batch_size=auto``: the largest batch that fits.

CUDA: peak memory is measured at 1 and at 2 images and is a straight line in between and beyond (weights, gradients and
optimiser states are the constant part); the batch that fills 90 % of what is free is tried, and made smaller until it
fits. CPU: what autograd keeps for one image is counted, and the batch is what fits in a third of the free memory. Without
``batch_limit`` it is 8 at most: a larger batch is no faster there, and makes fewer steps of the same images.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from effdet.training.errors import out_of_memory
from effdet.training.extra_losses import model_outputs
from effdet.training.loader import LoaderFactory
from heads.protocol import Context
from heads.ranks import alone
from heads.structures import Batch, Targets, UserError

CPU_LIMIT, CPU_SHARE = 8, 1 / 3
CUDA_LIMIT, CUDA_SHARE = 512, 0.9


def largest_batch(
    model: nn.Module,
    train_batches: LoaderFactory,
    *,
    device: torch.device,
    precision: str = "32-true",
    states: int = 2,
    extra: nn.ModuleList | None = None,
    limit: int | None = None,
) -> int:
    """Images of one batch that fit on `device`, never more than the set holds; the model is not changed.

    What is measured is an image of the run's largest canvas: with progressive learning, the last stage's.

    Args:
        model: on the CPU or on `device`.
        train_batches: builds the training loader: one real batch of one image is taken from it.
        extra: losses beside the heads', which take their share of the memory.
        states: tensors that the optimiser, the gradient and EMA keep for each weight.
        limit: largest batch; None for 512 on a GPU and 8 on a CPU.
    """
    loader = train_batches(batch_size=1, rank=0, world=1)
    loader.set_epoch(getattr(loader, "largest_epoch", 0))
    images, sample = len(loader), next(iter(loader))
    trial = _Trial(copy.deepcopy(model), copy.deepcopy(extra)).to(device).train()
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    autocast = torch.autocast(device.type, dtype) if dtype else nullcontext()
    with alone(), autocast:  # each process tries as many sizes as its device makes it
        on_cuda = device.type == "cuda"
        limit = limit or (CUDA_LIMIT if on_cuda else CPU_LIMIT)
        size = _on_cuda(trial, sample, device, states, limit) if on_cuda else _on_cpu(trial, sample, states, limit)
    if size < 1:
        raise UserError(
            "batch_size=auto: not even one image fits; use a smaller image_size or backbone, or grad_checkpointing=true"
        )
    return min(size, images)


class _Trial(nn.Module):
    """A model with the losses beside its heads'."""

    def __init__(self, model: nn.Module, extra: nn.ModuleList | None) -> None:
        super().__init__()
        self.model = model
        self.extra = nn.ModuleList() if extra is None else extra


def _on_cpu(model: _Trial, sample: Batch, states: int, limit: int) -> int:
    with _kept_by_autograd() as kept:
        _loss(model, sample)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    room = _free_memory() * CPU_SHARE - weights * (1 + states)
    return min(_round(room / max(sum(kept.values()), 1)), limit)


def _on_cuda(model: _Trial, sample: Batch, device: torch.device, states: int, limit: int) -> int:
    def peak(size: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        _loss(model, _tiled(sample, size).to(device)).backward()
        model.zero_grad(set_to_none=True)
        return torch.cuda.max_memory_allocated(device)

    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    try:
        peak(1)  # the first call also pays for kernels' workspaces
        one, two = peak(1), peak(2)
    except RuntimeError as error:
        if out_of_memory(error):
            return 0
        raise
    free, _ = torch.cuda.mem_get_info(device)
    room = (free + torch.cuda.memory_reserved(device)) * CUDA_SHARE - states * weights
    size = min(_round((room - one) / max(two - one, 1) + 1), limit)
    while size > 1:
        try:
            peak(size)
            return size
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            size = _round(size * 0.8)
    return size


def _loss(trial: _Trial, batch: Batch) -> Tensor:
    model: Any = trial.model
    images = model.preprocess.normalise(batch.images)
    outputs, context = model_outputs(model, images, 1.0, trial.extra), Context.of(images)  # type: ignore[arg-type]
    terms = model.loss(outputs, batch.targets, context)
    for loss in trial.extra:
        terms |= loss.trial(model, batch, outputs, context)  # type: ignore[operator]
    return torch.stack(list(terms.values())).sum()


def _tiled(sample: Batch, size: int) -> Batch:
    def tile(tensor: Tensor) -> Tensor:
        return tensor[:1].repeat(size, *[1] * (tensor.ndim - 1))

    targets = {field.name: getattr(sample.targets, field.name) for field in fields(Targets)}
    tiled = Targets(**{name: None if value is None else tile(value) for name, value in targets.items()})
    return replace(sample, images=tile(sample.images), targets=tiled, indices=tile(sample.indices))


def _round(size: float) -> int:
    """Down to a power of two below 8, and to a multiple of 8 above."""
    if size < 1:
        return 0
    return int(size) // 8 * 8 if size >= 8 else 2 ** int(math.log2(size))


@contextmanager
def _kept_by_autograd() -> Iterator[dict[int, int]]:
    """Bytes of each storage that autograd keeps, by its address; those of parameters are left out."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _free_memory() -> int:
    """Bytes of the machine's memory that are free for us."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        return pages * os.sysconf("SC_PAGE_SIZE") // 2 if pages else 4 * 1024**3
