"""Which images an epoch shows, in which order, as a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from effdet.data.records import RecordTable
from effdet.data.rng import generator
from heads.structures import UserError


def repeat_factors(table: RecordTable, *, threshold: float) -> np.ndarray:
    """How often each image should come, by its rarest class (Gupta et al. 2019, LVIS, section A.2).

    A class found in a share f of the images has the factor max(1, √(threshold / f)); an image has the largest
    factor of its classes, and 1 without any.

    Args:
        table: the records; crowds don't count.
        threshold: the share of images below which a class is rare.

    Returns:
        (P,) float64, at least 1.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"the repeat threshold {threshold} must lie above 0 and at most 1: it is a share of images")
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


LEARNABLE = 5
"""Images of a class from which on showing them more often may teach more than these images."""
UNEVEN = 1 / 3
"""Of the mean share of images: classes on a smaller one are rare, for `auto`."""


@dataclass(frozen=True)
class Repeats:
    """What ``data.repeat_threshold`` comes to on a set."""

    factors: np.ndarray | None
    """(P,) float64 of :func:`repeat_factors`; None shows each image once."""
    line: str
    """What was chosen by `auto`, and the counts that decided it; empty where a number was given."""


def chosen_repeats(table: RecordTable, names: Sequence[str], threshold: float | Literal["auto"] | None) -> Repeats:
    """The factors under a threshold, or under the one that `auto` takes.

    `auto` looks for very uneven classes. Their mean share is the mean, over the classes that train shows at all, of the share
    of images that hold one. The threshold is a third of it, where a class with 5 images and more lies below: fewer images are
    not enough to learn from, however often they come, and a set in which no class is that rare is left as it is.

    Args:
        table: the records.
        names: of the classes.
        threshold: as for :func:`repeat_factors`; None for no repetition.
    """
    if threshold is None or isinstance(threshold, float | int):
        return Repeats(None if threshold is None else repeat_factors(table, threshold=threshold), "")
    images = class_images(table, len(names))
    begin = "data.repeat_threshold=auto: off"
    if not images.any():
        return Repeats(None, f"{begin}: train has no boxes")
    found = float(images[images > 0].mean()) / len(table) * UNEVEN
    rare = np.flatnonzero((images >= LEARNABLE) & (images < found * len(table)))
    if len(rare) == 0:
        least = int(np.where(images > 0, images, images.max()).argmin())
        return Repeats(
            None,
            f"{begin}: no class of {LEARNABLE} images and more is on fewer than {found:.1%} of them, a third of the mean share "
            f"(the rarest, {names[least]}, is on {images[least]:,} of {len(table):,})",
        )
    factors = repeat_factors(table, threshold=found)
    rarest = int(rare[images[rare].argmin()])
    listed = ", ".join(f"{names[row]} {images[row]:,}" for row in rare[np.argsort(images[rare], kind="stable")][:5])
    more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
    return Repeats(
        factors,
        f"data.repeat_threshold=auto: {found:.4f}, a third of the mean share of images of a class; below it are {listed}{more} "
        f"of {len(table):,} images. Those of {names[rarest]} come {np.sqrt(found * len(table) / images[rarest]):.2f} times as "
        f"often; an epoch shows {round(float(factors.sum())):,} images",
    )


def class_images(table: RecordTable, classes: int) -> np.ndarray:
    """(K,) int64: images that hold each class; crowds don't count."""
    owner = np.repeat(np.arange(len(table)), np.diff(table.starts))[~table.crowd]
    labels = table.labels[~table.crowd]
    pairs = np.unique(np.stack([owner, labels], axis=1), axis=0)
    return np.bincount(pairs[:, 1], minlength=classes)


def epoch_order(count: int, *, seed: int, epoch: int, factors: np.ndarray | None = None) -> np.ndarray:
    """The (index, copy) pairs of an epoch, shuffled, the same on every rank.

    With `factors` each image comes as often as its factor on average: the fractions are rounded by systematic
    sampling with a random start, which keeps the length of every epoch the same, round(Σ factors).

    Returns:
        (L, 2) int64.
    """
    rng = generator(seed, "permutation", epoch)
    return rng.permutation(_shown(count, rng, factors))


def streamed_order(
    groups: np.ndarray, *, seed: int, epoch: int, rank: int, world: int, window: int, factors: np.ndarray | None = None
) -> np.ndarray:
    """The (index, copy) pairs of an epoch on one rank, for images that lie together in files.

    The files are shuffled and laid end to end, and the line of images is cut into `world` equal parts: a rank reads only
    its own files (but for those that a cut falls into). Within a part, the images of `window` files after one another
    are mixed. Less random than :func:`epoch_order`, and never more than `window` files are needed at a time.

    Args:
        groups: (P,) int64 file of each image.
        seed, epoch: what the order is a function of, with
        rank, world: which part of how many.
        window: files that are mixed.
        factors: as for :func:`epoch_order`.

    Returns:
        (L // world, 2) int64.
    """
    rng = generator(seed, "shards", epoch)
    pairs = _shown(len(groups), rng, factors)
    numbers, group = np.unique(groups, return_inverse=True)
    place = rng.permutation(len(numbers))[group[pairs[:, 0]]]
    line = np.argsort(place, kind="stable")
    length = len(line) // world
    part = line[rank * length : (rank + 1) * length]
    file = np.cumsum(np.diff(place[part], prepend=place[part[:1]]) != 0)
    noise = generator(seed, "window", epoch, rank).random(len(part))
    return pairs[part[np.lexsort((noise, file // window))]]


def _shown(count: int, rng: np.random.Generator, factors: np.ndarray | None) -> np.ndarray:
    """(L, 2) int64 (index, copy) of the images that an epoch shows, by rising index."""
    if factors is None:
        chosen = np.arange(count)
    else:
        length = round(float(factors.sum()))
        ends = np.cumsum(factors) * (length / factors.sum())
        chosen = np.searchsorted(ends, np.arange(length) + rng.random(), side="right").clip(0, count - 1)
    first = np.searchsorted(chosen, chosen, side="left")
    return np.stack([chosen, np.arange(len(chosen)) - first], axis=1)


class EpochSampler:
    """Batches of (epoch, index, copy), or of (epoch, index, copy, canvas), for one rank of `world`.

    Step k of the run takes the k-th `batch_size` × `world` images of the epoch's order, of which each rank has an
    equal run; a last incomplete step is dropped, unless it is the only one. Of images that lie together in files
    (`groups`), each rank takes those of its own files (:func:`streamed_order`).
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
        groups: np.ndarray | None = None,
        window: int = 1,
        sizes: int = 1,
        accumulate: int = 1,
    ) -> None:
        """
        Args:
            count: images of the set.
            batch_size: images of a batch on this rank.
            seed, rank, world, factors, groups, window: as for :func:`epoch_order` and :func:`streamed_order`.
            sizes: of the canvas, one of which each optimiser step draws, the same on all ranks: a sample's key then ends in
                its number.
            accumulate: batches of an optimiser step.
        """
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        if not 0 <= rank < world:
            raise UserError(f"rank={rank} must lie between 0 and {world - 1}")
        self.count, self.seed, self.rank, self.world, self.factors = count, seed, rank, world, factors
        self.groups, self.window = groups, window
        self.sizes, self.accumulate = sizes, accumulate
        length = count if factors is None else round(float(factors.sum()))
        if length < world:
            raise UserError(f"{length} train images are too few for {world} processes: use fewer devices")
        self.batch_size = min(batch_size, length // world)
        """Images in each batch of this rank: smaller than asked for where the set is smaller than one step."""
        self.steps = length // (self.batch_size * world)
        self.epoch, self.start_batch = 0, 0

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Chooses the epoch, and the batch of it to begin with (a resumed epoch skips those already consumed)."""
        if not 0 <= start_batch <= self.steps:
            raise UserError(f"start_batch={start_batch} must lie between 0 and the epoch's {self.steps} batches")
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        return self.steps - self.start_batch

    def size_at(self, epoch: int, batch: int) -> int:
        """Number of the canvas of a batch, a function of (seed, epoch, step)."""
        return int(generator(self.seed, "canvas", epoch, batch // self.accumulate).integers(self.sizes))

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        epoch, start = self.epoch, self.start_batch
        order, stride, own = self._order(epoch), self.world, self.rank
        if self.groups is not None:
            stride, own = 1, 0  # the order is this rank's own
        for step in range(start, self.steps):
            begin = (step * stride + own) * self.batch_size
            pairs = order[begin : begin + self.batch_size].tolist()
            canvas = (self.size_at(epoch, step),) if self.sizes > 1 else ()
            yield [(epoch, index, copy, *canvas) for index, copy in pairs]

    def _order(self, epoch: int) -> np.ndarray:
        if self.groups is None:
            return epoch_order(self.count, seed=self.seed, epoch=epoch, factors=self.factors)
        return streamed_order(
            self.groups,
            seed=self.seed,
            epoch=epoch,
            rank=self.rank,
            world=self.world,
            window=self.window,
            factors=self.factors,
        )
