"""Finding the same image twice: exactly, and after it was saved anew or scaled.

Thumbnails of 16 × 16 grey pixels survive both. Two of them are compared by the mean difference of their pixels; which
pairs are compared at all is decided by a hash of 128 bits (the signs of the differences between neighbours, a "dHash", in
8 × 8 cells along and across): pairs that agree in one of 8 bands of 16 bits. So that n images cost about n steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from effdet.doctor.facts import THUMB

SAME, ALMOST = (6, 1.0), (14, 3.0)
"""Bits of 128 and mean difference of grey levels 0…255 up to which two images are the same one saved anew (a JPEG at
quality 15 differs by 2 bits and 0.6), and up to which they are nearly so (another shot of the scene, the next frame)."""
LEAST_CONTRAST = 6.0
"""Standard deviation of a thumbnail below which nothing can be distinguished (sky, a black frame)."""
_MOST_IN_BUCKET = 64


def exact_groups(prints: Sequence[bytes]) -> list[list[int]]:
    """Positions of equal prints, in groups of two and more; empty prints stand for images that could not be read."""
    groups: dict[bytes, list[int]] = {}
    for position, value in enumerate(prints):
        if value:
            groups.setdefault(value, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def similar_pairs(thumbs: Sequence[bytes]) -> dict[tuple[int, int], bool]:
    """Pairs of images that show the same (True: one saved anew; False: nearly), sorted.

    Args:
        thumbs: of :class:`~effdet.doctor.facts.Facts`; empty ones are left out.
    """
    there = np.array([position for position, thumb in enumerate(thumbs) if thumb], np.int64)
    if len(there) == 0:
        return {}
    pixels = np.frombuffer(b"".join(thumbs[position] for position in there), np.uint8).reshape(-1, THUMB, THUMB)
    shown = pixels.reshape(len(pixels), -1).std(axis=1) >= LEAST_CONTRAST
    there, pixels = there[shown], pixels[shown]
    if len(there) < 2:
        return {}
    bits = _hashes(pixels)
    found: dict[tuple[int, int], bool] = {}
    for first, second in _candidates(bits):
        pair = (int(there[first]), int(there[second]))
        differ = int(np.count_nonzero(bits[first] != bits[second]))
        if pair in found or differ > ALMOST[0]:
            continue
        distance = float(np.abs(pixels[first].astype(np.int16) - pixels[second]).mean())
        if distance <= ALMOST[1]:
            found[pair] = differ <= SAME[0] and distance <= SAME[1]
    return dict(sorted(found.items()))


def _hashes(pixels: np.ndarray) -> np.ndarray:
    """(N, 16, 16) uint8 -> (N, 128) bool."""
    cells = pixels.reshape(len(pixels), 8, 2, 8, 2).mean(axis=(2, 4))  # (N, 8, 8)
    across = np.roll(cells, -1, axis=2) > cells
    along = np.roll(cells, -1, axis=1) > cells
    return np.concatenate([across.reshape(-1, 64), along.reshape(-1, 64)], axis=1)


def _candidates(bits: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs that agree in a band. A bucket that many share says nothing about them: its neighbours alone are paired."""
    bands = np.packbits(bits, axis=1).view(np.uint16)  # (N, 8)
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order].astype(np.int64), prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            bucket = order[start:stop]
            reach = len(bucket) if len(bucket) <= _MOST_IN_BUCKET else 4
            for place, first in enumerate(bucket.tolist()):
                for second in bucket[place + 1 : place + 1 + reach].tolist():
                    yield (first, second) if first < second else (second, first)
