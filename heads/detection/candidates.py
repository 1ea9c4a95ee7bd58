"""The few logits of millions that may become detections: the exact k largest above a threshold, fast.

A plain top-k over 49,104 anchors times 90 classes takes longer on a CPU than the rest of the post-process. So the entries
are folded into groups first. The k largest entries lie in the k groups with the largest maxima (a group outside has k groups
before it, each with an entry at least as large), and a maximum over groups is one sweep through memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GROUPS = 1 << 15  # groups at least, so that few entries share a group with one of the k largest


def largest(logits: Tensor, count: int, *, named: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `count` largest entries of each picture.

    Args:
        logits: (B, A, K), contiguous.
        count: at most this many; fewer where there are fewer entries.
        named: (K,) bool, False for classes that must not appear. None: all may.

    Returns:
        ``(B, n)`` the entries, falling, -inf where a picture has fewer allowed ones, and ``(B, n)`` int64 their places in
        A * K: ``anchor * K + class``.
    """
    classes = logits.shape[2]
    if named is not None and bool(named.all()):
        named = None
    return _largest(logits.flatten(1), count, period=classes if named is not None else 1, named=named)


def _of_few(values: Tensor, count: int, bound: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`_largest` of `values` (B, N), of which at least `count` are `bound` (B,) or more in each row."""
    if len(values) > 1 or values.device.type != "cpu":
        return _largest(values, count)
    place = (values[0] >= bound).nonzero()[:, 0]  # few more than are asked for
    if len(place) < count:  # a diverged network's NaN is above no bound
        return _largest(values, count)
    best, index = values[:, place].topk(count, dim=1)
    return best, place[index]


def _largest(values: Tensor, count: int, *, period: int = 1, named: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row of `values` (B, N), with their places; `named` (period,) repeats along the row."""
    total = values.shape[1]
    rows = total // max(_GROUPS, 16 * count)
    if rows < 2:
        if named is not None:
            values = values.masked_fill(~named.repeat(total // period), float("-inf"))
        return values.topk(min(count, total), dim=1)
    # Group j holds entries j, j + columns, j + 2 columns, …: neighbours, which tend to be large together, are kept apart,
    # and the maximum runs along memory. All entries of a group are of one class, as `columns` is a multiple of `period`.
    columns = total // (rows * period) * period
    body = values[:, : rows * columns].view(-1, rows, columns)
    peaks = body.amax(1)  # (B, columns)
    if named is not None:
        peaks.masked_fill_(~named.repeat(columns // period), float("-inf"))
    group = peaks.topk(count, dim=1, sorted=False).indices.sort(dim=1).values  # (B, count), rising: reads run forward
    found = body.gather(2, group[:, None].expand(-1, rows, -1))  # (B, rows, count)
    tail = values[:, rows * columns :]  # too few for groups of their own: always looked at
    if named is not None:
        found = found.masked_fill_(~named[group % period][:, None], float("-inf"))
        tail = tail.masked_fill(~named.repeat(tail.shape[1] // period), float("-inf"))
    best, index = _of_few(torch.cat([found.flatten(1), tail], dim=1), count, peaks.gather(1, group).amin(1))
    row, rank = index // count, index % count
    place = torch.where(
        index < rows * count, row * columns + group.gather(1, rank), index - rows * count + rows * columns
    )
    return best, place
