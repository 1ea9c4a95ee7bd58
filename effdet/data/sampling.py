"""Which pictures an epoch shows, in which order, as a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from effdet.data.records import RecordTable
from effdet.data.rng import generator
from heads.structures import UserError


def repeat_factors(table: RecordTable, *, threshold: float) -> np.ndarray:
    """How often each picture should come, by its rarest class (Gupta et al. 2019, LVIS, section A.2).

    A class found in a share f of the pictures has the factor max(1, √(threshold / f)); a picture has the largest
    factor of its classes, and 1 without any.

    Args:
        table: the records; crowds don't count.
        threshold: the share of pictures below which a class is rare.

    Returns:
        (P,) float64, at least 1.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"the repeat threshold {threshold} must lie above 0 and at most 1: it is a share of pictures")
    factors = np.ones(len(table))
    owner = np.repeat(np.arange(len(table)), np.diff(table.starts))[~table.crowd]
    labels = table.labels[~table.crowd]
    if len(labels) == 0:
        return factors
    pairs = np.unique(np.stack([owner, labels], axis=1), axis=0)
    share = np.bincount(pairs[:, 1], minlength=int(labels.max()) + 1) / len(table)
    factor = np.maximum(1, np.sqrt(threshold / np.maximum(share, 1e-12)))
    np.maximum.at(factors, pairs[:, 0], factor[pairs[:, 1]])
    return factors


def epoch_order(count: int, *, seed: int, epoch: int, factors: np.ndarray | None = None) -> np.ndarray:
    """The (index, copy) pairs of an epoch, shuffled, the same on every rank.

    With `factors` each picture comes as often as its factor on average: the fractions are rounded by systematic
    sampling with a random start, which keeps the length of every epoch the same, round(Σ factors).

    Returns:
        (L, 2) int64.
    """
    rng = generator(seed, "permutation", epoch)
    if factors is None:
        chosen = np.arange(count)
    else:
        length = round(float(factors.sum()))
        ends = np.cumsum(factors) * (length / factors.sum())
        chosen = np.searchsorted(ends, np.arange(length) + rng.random(), side="right").clip(0, count - 1)
    first = np.searchsorted(chosen, chosen, side="left")
    pairs = np.stack([chosen, np.arange(len(chosen)) - first], axis=1)
    return rng.permutation(pairs)


class EpochSampler:
    """Batches of (epoch, index, copy) for one rank of `world`.

    Step k of the run takes the k-th `batch_size` × `world` pictures of the epoch's order, of which each rank has an
    equal run; a last incomplete step is dropped, unless it is the only one.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        factors: np.ndarray | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        if not 0 <= rank < world:
            raise UserError(f"rank={rank} must lie between 0 and {world - 1}")
        self.count, self.seed, self.rank, self.world, self.factors = count, seed, rank, world, factors
        length = count if factors is None else round(float(factors.sum()))
        if length < world:
            raise UserError(f"{length} train pictures are too few for {world} processes: use fewer devices")
        self.batch_size = min(batch_size, length // world)
        """Pictures in each batch of this rank: smaller than asked for where the set is smaller than one step."""
        self.steps = length // (self.batch_size * world)
        self.epoch, self.start_batch = 0, 0

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Chooses the epoch, and the batch of it to begin with (a resumed epoch skips those already consumed)."""
        if not 0 <= start_batch <= self.steps:
            raise UserError(f"start_batch={start_batch} must lie between 0 and the epoch's {self.steps} batches")
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        return self.steps - self.start_batch

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        epoch, start = self.epoch, self.start_batch
        order = epoch_order(self.count, seed=self.seed, epoch=epoch, factors=self.factors)
        for step in range(start, self.steps):
            begin = (step * self.world + self.rank) * self.batch_size
            pairs = order[begin : begin + self.batch_size].tolist()
            yield [(epoch, index, copy) for index, copy in pairs]
