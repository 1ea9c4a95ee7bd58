"""A look into every mask before any work: size, values, objects. Files are read side by side, results are cached.

A full read is the only way to know that no mask holds an unknown id, and it also counts the pixels of each class, which
class-balanced crops need. Decoding releases Python's lock, so that threads use all cores: 370 masks of 480×360 take about
a second on two. What was found is kept in the cache folder under the files' paths, sizes and times of change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock

from effdet.data.checks import DataError
from effdet.data.mask_files import read_instances, read_values
from effdet.data.parsed_cache import Arrays, load_arrays, store_arrays
from effdet.data.records import encode_names
from effdet.files import encode_name
from effdet.hub import cache_folder

VERSION = 1
"""Of what the cached arrays mean."""
WORTH_CACHING = 50
"""Files from which a scan takes long enough to be kept."""
MOST_THREADS = 16
Look = TypeVar("Look")


@dataclass(frozen=True, eq=False)
class MaskScan:
    """What P masks hold."""

    sizes: np.ndarray
    """(P, 2) int64 height, width; zeros where the file could not be read."""
    counts: np.ndarray
    """(P, 256) int64 pixels of each value."""
    faults: np.ndarray
    """(P,) bytes: why a file could not be read, empty where it could."""


@dataclass(frozen=True, eq=False)
class InstanceScan:
    """The objects of P instance maps: N in all."""

    sizes: np.ndarray
    """(P, 2) int64 height, width; zeros where the file could not be read."""
    faults: np.ndarray
    """(P,) bytes: why a file could not be read, empty where it could."""
    owner: np.ndarray
    """(N,) int64 position of each object's map, rising."""
    values: np.ndarray
    """(N,) int64 the object's value in the map, rising within a map."""
    bbox: np.ndarray
    """(N, 4) float64 xywh of its pixels, original pixels."""
    area: np.ndarray
    """(N,) float64 its pixels."""


def scan_masks(paths: Sequence[Path]) -> MaskScan:
    """Sizes and values of the masks at `paths`; a file that cannot be read is a fault in the result."""

    def look(path: Path) -> tuple[tuple[int, int], np.ndarray, str]:
        try:
            values = read_values(path)
        except DataError as error:
            return (0, 0), np.zeros(256, np.int64), str(error).removeprefix(f"{path}: ")
        return (values.shape[0], values.shape[1]), np.bincount(values.reshape(-1), minlength=256), ""

    def scan() -> dict[str, np.ndarray]:
        found = _in_threads(look, paths)
        return {
            "sizes": np.array([size for size, _, _ in found], np.int64).reshape(-1, 2),
            "counts": np.array([counts for _, counts, _ in found], np.int64).reshape(-1, 256),
            "faults": encode_names([fault for _, _, fault in found]),
        }

    return MaskScan(**_cached("masks", paths, scan))


def scan_instances(paths: Sequence[Path], *, smallest: int) -> InstanceScan:
    """The objects of the instance maps at `paths`: regions of one value, from `smallest` on."""

    def look(path: Path) -> tuple[tuple[int, int], np.ndarray, str]:
        try:
            values = read_instances(path)
        except DataError as error:
            return (0, 0), np.zeros((0, 6)), str(error).removeprefix(f"{path}: ")
        return (values.shape[0], values.shape[1]), objects(values, smallest=smallest), ""

    def scan() -> dict[str, np.ndarray]:
        found = _in_threads(look, paths)
        rows = np.concatenate([np.zeros((0, 6)), *(rows for _, rows, _ in found)])
        return {
            "sizes": np.array([size for size, _, _ in found], np.int64).reshape(-1, 2),
            "faults": encode_names([fault for _, _, fault in found]),
            "owner": np.repeat(np.arange(len(found)), [len(rows) for _, rows, _ in found]),
            "values": rows[:, 0].astype(np.int64),
            "bbox": rows[:, 1:5],
            "area": rows[:, 5],
        }

    return InstanceScan(**_cached(f"instances from {smallest}", paths, scan))


def objects(values: np.ndarray, *, smallest: int) -> np.ndarray:
    """The regions of one value in an instance map.

    Args:
        values: (h, w) integers.
        smallest: lower values are background.

    Returns:
        (N, 6) float64: value, x, y, width, height, pixels; sorted by value.
    """
    ys, xs = np.nonzero(values >= smallest)
    found = values[ys, xs]
    order = np.argsort(found, kind="stable")
    found, ys, xs = found[order], ys[order], xs[order]
    starts = np.flatnonzero(np.diff(found, prepend=found[:1] - 1))
    if len(starts) == 0:
        return np.zeros((0, 6))
    left, top = np.minimum.reduceat(xs, starts), np.minimum.reduceat(ys, starts)
    right, bottom = np.maximum.reduceat(xs, starts) + 1, np.maximum.reduceat(ys, starts) + 1
    pixels = np.diff(starts, append=len(found))
    return np.stack([found[starts], left, top, right - left, bottom - top, pixels], axis=1).astype(np.float64)


def _in_threads(look: Callable[[Path], Look], paths: Sequence[Path]) -> list[Look]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(cores, MOST_THREADS)) as pool:
        return list(pool.map(look, paths))


def _cached(what: str, paths: Sequence[Path], scan: Callable[[], Arrays]) -> Arrays:
    """What `scan` gives, from the cache where the files are known there. One process scans, others wait for it."""
    if len(paths) < WORTH_CACHING:
        return scan()
    target = cache_folder("annotations", f"{_key(what, paths)}.npz")
    lock = FileLock(target.with_suffix(".lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # a cache that can't be written is none
        return scan()
    try:
        stored = load_arrays(target)
        if stored is None:
            stored = scan()
            store_arrays(target, stored)
        return stored
    finally:
        lock.release()


def _key(what: str, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{VERSION} {what}".encode())
    for path in paths:
        try:
            state = path.stat()
            digest.update(encode_name(f"\n{path.absolute()} {state.st_size} {state.st_mtime_ns}"))
        except OSError:
            digest.update(encode_name(f"\n{path.absolute()} missing"))
    return digest.hexdigest()[:32]
