"""The one evaluation loop: validation in training, `evaluate` and the export gate pass it different functions.

Under `torch.distributed` each process takes every world-th image, without padding, so that no image counts twice;
what was gathered goes to every process, rank 0 computes the metrics, and all return the same result. A process that
fails takes the others with it in order, instead of leaving them at a barrier.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.evaluators import Evaluator
from effdet.evaluation.loss import LossEvaluator
from effdet.progress import progress_bar
from effdet.workers import ignore_interrupt, ignore_signals_in_children
from heads.structures import UserError

PredictFn = Callable[[EvalBatch], Mapping[str, Any]]
"""Batch -> {head: predictions in original pixels}."""


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found."""

    metrics: dict[str, Any]
    """All evaluators' metrics in one dictionary."""
    predictions: list[dict[str, Any]]
    """COCO results in the set's own ids; empty where no head gives boxes."""
    images: int
    seconds: float
    """Wall time of the loop: reading, model and post-processing, without the metrics."""

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds > 0 else float("inf")


def evaluate(
    predict_fn: PredictFn,
    dataset: Any,
    *,
    evaluators: Mapping[str, Evaluator],
    batch_size: int = 8,
    workers: int = 0,
    max_images: int | None = None,
    progress: bool = True,
) -> EvaluationResult:
    """Run `predict_fn` over `dataset` and let each head's evaluator evaluate.

    Args:
        predict_fn: batch -> {head: predictions in original pixels}; see `ModelPredictFn`.
        dataset: has a length; an item has `image` (3, H, W) uint8, `geometry` and `record`, and `mask` where class
            maps are evaluated (`effdet.data.EvalSet`).
        evaluators: by head name. Heads without an evaluator are predicted and not evaluated.
        batch_size: images in one call of `predict_fn`, on each process.
        workers: loader processes; 0 reads in this one.
        max_images: evaluate only the first N images, against their truth; None means all.
        progress: show a bar on a terminal (first process only).
    """
    if batch_size < 1 or workers < 0:
        raise UserError(f"batch_size (={batch_size}) must be 1 or more and workers (={workers}) 0 or more")
    if max_images is not None and max_images < 1:
        raise UserError(f"max_images={max_images} must be 1 or more images, or null for all")
    total = len(dataset) if max_images is None else min(max_images, len(dataset))
    if total == 0:
        raise UserError("there are no images to evaluate: the split is empty")
    if not evaluators:
        raise UserError("evaluate needs an evaluator for at least one head")

    predict_fn = _with_losses(_among_known(predict_fn, evaluators), evaluators)
    rank, world = _rank_and_world()
    shard = _Shard(dataset, range(rank, total, world))
    started = time.perf_counter()
    failure: Exception | None = None
    try:
        _predict_all(predict_fn, shard, evaluators, batch_size, workers, progress and rank == 0, total)
    except Exception as error:  # other processes wait at the gather below: they must receive it
        if world == 1:
            raise
        failure = error
    _gather(evaluators, failure)
    seconds = time.perf_counter() - started
    metrics, predictions = _on_first(lambda: _evaluate(evaluators))
    return EvaluationResult(metrics, predictions, total, seconds)


def _among_known(predict_fn: PredictFn, evaluators: Mapping[str, Evaluator]) -> PredictFn:
    """Only classes that the data knows compete for the detections of an image: the others are dropped anyway."""
    found = {head: getattr(evaluator, "known", None) for head, evaluator in evaluators.items()}
    known = {head: flags for head, flags in found.items() if flags is not None}
    among = getattr(predict_fn, "among", None)
    return predict_fn if among is None or not known else among(known)


def _with_losses(predict_fn: PredictFn, evaluators: Mapping[str, Evaluator]) -> PredictFn:
    """Heads with a `LossEvaluator` give their loss in place of a prediction."""
    requested = {head: evaluator for head, evaluator in evaluators.items() if isinstance(evaluator, LossEvaluator)}
    if not requested:
        return predict_fn
    if (with_losses := getattr(predict_fn, "with_losses", None)) is None:
        raise UserError(
            f"head {next(iter(requested))}: its loss takes the model itself, not what an exported file gives"
        )
    return with_losses({head: evaluator.targets for head, evaluator in requested.items()})


def _predict_all(
    predict_fn: PredictFn,
    shard: _Shard,
    evaluators: Mapping[str, Evaluator],
    batch_size: int,
    workers: int,
    progress: bool,
    total: int,
) -> None:
    loader = DataLoader(
        shard,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=EvalBatch.of,
        worker_init_fn=ignore_interrupt,
        pin_memory=str(getattr(predict_fn, "device", "cpu")).startswith("cuda"),
        # Its own generator: a loader draws a seed from the global one, which would change the training around it.
        generator=torch.Generator().manual_seed(0),
    )
    for evaluator in evaluators.values():
        evaluator.reset()
    seen = done = 0
    with progress_bar("evaluating", total, unit="images", show=progress) as advance:
        with ignore_signals_in_children():
            batches = iter(loader)
        for batch in batches:
            predictions = predict_fn(batch)
            for head, evaluator in evaluators.items():
                if head not in predictions:
                    raise UserError(f"the model predicts {', '.join(predictions)}; there is no {head!r} to evaluate")
                evaluator.update(predictions[head], batch)
            seen += len(batch)
            before, done = done, min(seen * _rank_and_world()[1], total)
            advance(done - before)
    assert seen == len(shard), f"{seen} of {len(shard)} images came out of the loader"


def _evaluate(evaluators: Mapping[str, Evaluator]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    metrics: dict[str, Any] = {}
    predictions: list[dict[str, Any]] = []
    for evaluator in evaluators.values():
        found = evaluator.metrics()
        assert not metrics.keys() & found.keys(), f"two evaluators give {sorted(metrics.keys() & found.keys())}"
        metrics |= found
        predictions += evaluator.results()
    return metrics, predictions


class _Shard(Dataset):
    """Some images of a set, with their index in it."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, Any]:
        index = self.indices[position]
        return index, self.dataset[index]


def _rank_and_world() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _gather(evaluators: Mapping[str, Evaluator], failure: Exception | None) -> None:
    """Give every process all that was gathered, or raise everywhere what failed anywhere."""
    rank, world = _rank_and_world()
    if world == 1:
        return
    mine = None if failure else {head: evaluator.state() for head, evaluator in evaluators.items()}
    gathered: list[Any] = [None] * world
    dist.all_gather_object(gathered, (None if failure is None else f"{type(failure).__name__}: {failure}", mine))
    if failure is not None:
        raise failure
    for other, (text, _) in enumerate(gathered):
        if text is not None:
            raise RuntimeError(f"process {other} failed while evaluating (this is process {rank}): {text}")
    for head, evaluator in evaluators.items():
        evaluator.merge([state[head] for _, state in gathered])


def _on_first(function: Callable[[], Any]) -> Any:
    """Run on rank 0, hand the result (or the error) to all."""
    rank, world = _rank_and_world()
    if world == 1:
        return function()
    box: list[Any] = [None, None]
    error: Exception | None = None
    if rank == 0:
        try:
            box = [function(), None]
        except Exception as caught:
            error, box = caught, [None, str(caught)]
    dist.broadcast_object_list(box, src=0)
    if error is not None:
        raise error
    if box[1] is not None:
        raise RuntimeError(f"process 0 failed while computing metrics: {box[1]}")
    return box[0]
