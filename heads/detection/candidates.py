"""The few logits of millions that may become detections: the exact k largest, fast.

A plain top-k over 49,104 anchors times 90 classes takes longer on a CPU than the rest of the post-process. So the entries
are folded into groups first. The k largest entries lie in the k groups with the largest maxima (a group outside has k groups
before it, each with an entry at least as large), and a maximum over groups is one sweep through memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GROUPS = 1 << 15  # groups at least, so that few entries share a group with one of the k largest
_FOLD = 8  # torch's maximum reads 8 places of memory at once at full speed, 50 at a third of it
_SAMPLE = 11  # one group in this many is asked for a bound; a prime, so that these are seldom all of the same classes


def largest(logits: Tensor, count: int, *, named: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `count` largest entries of each image.

    Args:
        logits: (B, A, K), contiguous.
        count: at most this many; fewer where there are fewer entries.
        named: (K,) bool, False for classes that must not appear. None: all may.

    Returns:
        ``(B, n)`` the entries, falling, -inf where an image has fewer allowed ones, and ``(B, n)`` int64 their places in
        A * K: ``anchor * K + class``.
    """
    classes = logits.shape[2]
    if named is not None and bool(named.all()):
        named = None
    return _largest(logits.flatten(1), count, period=classes if named is not None else 1, named=named)


def _largest(values: Tensor, count: int, *, period: int = 1, named: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row of `values` (B, N), with their places; `named` (period,) repeats along the row."""
    total = values.shape[1]
    folds = _folds(total // max(_GROUPS, 16 * count))
    rows = math.prod(folds)
    columns = total // (rows * period) * period
    if not folds or columns < count:
        return _allowed(values, named).topk(min(count, total), dim=1)
    # Group j holds entries j, j + columns, j + 2 columns, …: neighbours, which tend to be large together, are kept apart,
    # and the maximum runs along memory. All entries of a group are of one class, as `columns` is a multiple of `period`.
    levels = [values[:, : rows * columns]]
    for fold in folds:
        levels.append(levels[-1].unflatten(1, (fold, -1)).amax(1))
    peaks = levels[-1] = _allowed(levels[-1], named)  # (B, columns)
    tail = _allowed(values[:, rows * columns :], named)  # too few for groups of their own: always looked at
    if len(values) == 1 and values.device.type == "cpu":
        found = _descend([level[0] for level in levels], tail[0], count)
        if found is not None:
            return found
    group = peaks.topk(count, dim=1, sorted=False).indices.sort(dim=1).values  # (B, count), rising: reads run forward
    entries = levels[0].unflatten(1, (rows, columns)).gather(2, group[:, None].expand(-1, rows, -1))  # (B, rows, count)
    if named is not None:
        entries.masked_fill_(~named[group % period][:, None], float("-inf"))
    best, index = torch.cat([entries.flatten(1), tail], dim=1).topk(count, dim=1)
    row, rank = index // count, index % count
    place = torch.where(
        index < rows * count, row * columns + group.gather(1, rank), index - rows * count + rows * columns
    )
    return best, place


def _allowed(values: Tensor, named: Tensor | None) -> Tensor:
    """(B, N) with minus infinity at classes that are not named; they repeat along the row."""
    if named is None:
        return values
    anchors = values.shape[1] // len(named)  # may be 0
    return values.unflatten(1, (anchors, len(named))).masked_fill(~named, float("-inf")).flatten(1)


def _folds(rows: int) -> list[int]:
    """Factors of at most :data:`_FOLD` whose product is at most `rows`, and more than half of it."""
    folds = []
    while rows >= 2:
        folds.append(min(_FOLD, rows))
        rows //= _FOLD
    return folds


def _descend(levels: list[Tensor], tail: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
    """One image's `count` largest entries, where a guess at the smallest of them comes near it, else None.

    The guess is a bound that some more than `count` peaks reach, evaluated by a sample of them. At least as many
    entries reach it then, `count` or more; and what reaches it is found from each level in the finer one below.

    Args:
        levels: the entries, their maxima over each first fold, … to the peaks; each (n,).
        tail: the entries that were not folded.
    """
    peaks = levels[-1]
    requested = count // _SAMPLE
    # A quarter more and 16: three standard deviations of what such a sample holds.
    bound = (
        peaks[::_SAMPLE].topk(min(requested + requested // 4 + 16, len(peaks) // _SAMPLE), sorted=False).values.amin()
    )
    place = _reaching(peaks, bound)
    if not count <= len(place) <= 4 * count:  # ties, or a sample unlike the rest
        return None
    for coarse, fine in zip(reversed(levels[1:]), reversed(levels[:-1]), strict=True):
        starts = torch.arange(0, len(fine), len(coarse))
        below = (starts[:, None] + place).flatten()
        place = below[_reaching(fine.index_select(0, below), bound)]
    last = _reaching(tail, bound)
    best, index = torch.cat([levels[0].index_select(0, place), tail[last]]).topk(count)
    return best[None], torch.cat([place, last + len(levels[0])])[index][None]


def _reaching(values: Tensor, bound: Tensor) -> Tensor:
    """Places in (n,) of what is not below `bound`: a diverged network's NaN counts as largest, as top-k has it."""
    return (values < bound).logical_not_().nonzero()[:, 0]
