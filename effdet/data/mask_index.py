"""A look into every mask before any work: size, values, objects. Files are read side by side, results are cached.

A full read is the only way to know that no mask holds an unknown id, and it also counts the pixels of each class, which
class-balanced crops need. Decoding releases Python's lock, so that threads use all cores: 370 masks of 480×360 take about
a second on two. What was found is kept in the cache folder under the files' paths, sizes and times of change.

:func:`build_table` holds the checks that every set with masks goes through: images, masks and boxes against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from effdet.data.boxes import Boxes, assemble
from effdet.data.checks import DataError, Findings, missing
from effdet.data.images import image_sizes
from effdet.data.mask_io import UNKNOWN, MaskValues, read_instances, read_values
from effdet.data.parsed_cache import Arrays, cached_file, load_arrays, store_arrays
from effdet.data.records import RecordTable, encode_names
from effdet.files import decode_name
from effdet.workers import cores

VERSION = 1
"""Of what the cached arrays mean."""
WORTH_CACHING = 50
"""Files from which a scan takes long enough to be kept."""
MOST_THREADS = 16


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

    def scan() -> Arrays:
        count = lambda values: np.bincount(values.reshape(-1), minlength=256)
        arrays, counts = _read_all(paths, read_values, count, np.zeros(256, np.int64))
        return arrays | {"counts": np.array(counts, np.int64).reshape(-1, 256)}

    return MaskScan(**_cached("masks", paths, scan))


def scan_instances(paths: Sequence[Path], *, smallest: int) -> InstanceScan:
    """The objects of the instance maps at `paths`: regions of one value, from `smallest` on."""

    def scan() -> Arrays:
        find = lambda values: objects(values, smallest=smallest)
        arrays, found = _read_all(paths, read_instances, find, np.zeros((0, 6)))
        rows = np.concatenate([np.zeros((0, 6)), *found])
        return arrays | {
            "owner": np.repeat(np.arange(len(found)), [len(rows) for rows in found]),
            "values": rows[:, 0].astype(np.int64),
            "bbox": rows[:, 1:5],
            "area": rows[:, 5],
        }

    return InstanceScan(**_cached(f"instances from {smallest}", paths, scan))


def _read_all(
    paths: Sequence[Path],
    read: Callable[[Path], np.ndarray],
    measure: Callable[[np.ndarray], np.ndarray],
    nothing: np.ndarray,
) -> tuple[Arrays, list[np.ndarray]]:
    """The arrays ``sizes`` and ``faults`` of the files at `paths`, and what `measure` finds in each; `nothing` in a faulty
    one."""

    def look(path: Path) -> tuple[tuple[int, ...], np.ndarray, str]:
        try:
            values = read(path)
        except DataError as error:
            return (0, 0), nothing, str(error).removeprefix(f"{path}: ")
        return values.shape, measure(values), ""

    with ThreadPoolExecutor(cores(MOST_THREADS)) as pool:
        found = list(pool.map(look, paths))
    sizes = np.array([size for size, _, _ in found], np.int64).reshape(-1, 2)
    faults = encode_names([fault for _, _, fault in found])
    return {"sizes": sizes, "faults": faults}, [measured for _, measured, _ in found]


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


def _cached(what: str, paths: Sequence[Path], scan: Callable[[], Arrays]) -> Arrays:
    """What `scan` gives, from the cache where the files are known there. One process scans, others wait for it."""
    if len(paths) < WORTH_CACHING:
        return scan()
    target = cached_file("annotations", f"{VERSION} {what}", paths)
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


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a split with their mask files, as a reader found them."""

    root: Path
    names: Sequence[str]
    """(P,) images, relative to `root`, sorted."""
    masks: Sequence[Path | None] = ()
    """(P,) mask files; () where masks are not wanted. None, or a file that isn't there, is one of `unmasked`."""
    instances: Sequence[Path] = ()
    """(P,) instance maps, likewise; those that aren't there are passed over."""
    unmasked: bool = False
    """Whether images may lack a mask (a test split whose truth is kept back)."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of P images, found in instance maps or elsewhere."""

    boxes: Boxes
    sizes: np.ndarray
    """(P, 2) int64 height, width of the maps; zeros where unknown."""
    labelled: np.ndarray
    """(P,) bool: images whose boxes are known."""
    files: Sequence[str]
    """(P,) where messages say that the boxes stand."""


def build_table(
    images: Images, values: MaskValues, classes: int, findings: Findings, *, objects: Objects | None = None
) -> RecordTable:
    """Checks images, masks and boxes against each other; each fault becomes a finding.

    Args:
        images: files.
        values: what the masks' values mean.
        classes: number K of semantic classes.
        findings: takes what is wrong; an image with a faulty mask is kept without it.
        objects: None for a set that labels no boxes.
    """
    masks = list(images.masks) or [None] * len(images.names)
    present = _present(images, masks, findings)
    found = scan_masks([mask for mask in present if mask is not None])
    rows = np.flatnonzero([mask is not None for mask in present])
    scan = MaskScan(
        np.zeros((len(present), 2), np.int64),
        np.zeros((len(present), 256), np.int64),
        np.zeros(len(present), found.faults.dtype),
    )
    scan.sizes[rows], scan.counts[rows], scan.faults[rows] = found.sizes, found.counts, found.faults
    valid = _valid_masks(scan, present, values, findings)
    lacking = set(missing(images.instances))
    instances = ["" if row in lacking else str(path.absolute()) for row, path in enumerate(images.instances)]
    if objects is None:
        nowhere = np.zeros((len(images.names), 2), np.int64)
        objects = Objects(Boxes.none(), nowhere, np.zeros(len(images.names), bool), ())
    stated = np.where(scan.sizes > 0, scan.sizes, objects.sizes)
    paths = [images.root / name for name in images.names]
    sizes, fitting = _frames(paths, stated, present, findings)
    valid &= fitting
    boxes, files = objects.boxes, objects.files
    where = lambda row: (files[int(boxes.owner[row])], f"object {row}")
    table = assemble(images.root, images.names, boxes, where, findings, sizes=sizes)
    kept = table.image_ids - 1
    shown = [str(mask.absolute()) if mask is not None and valid[row] else "" for row, mask in enumerate(present)]
    pixels = values.class_pixels(np.where(valid[:, None], scan.counts, 0), classes)
    return replace(
        table,
        masks=encode_names(shown)[kept],
        instances=encode_names(instances)[kept] if instances else None,
        class_pixels=pixels[kept] if images.masks else None,
        has_boxes=objects.labelled[kept],
    )


def _present(images: Images, masks: Sequence[Path | None], findings: Findings) -> list[Path | None]:
    """The masks that are there; the others are noted."""
    if not images.masks:
        return [None] * len(masks)
    listed = [row for row, mask in enumerate(masks) if mask is not None]
    lacking = {listed[place] for place in missing(path for path in masks if path is not None)}
    lacking |= set(range(len(masks))) - set(listed)
    if not images.unmasked:
        for row in sorted(lacking):
            name = masks[row]
            findings.error("missing-mask", images.root / images.names[row], f"no mask{f' {name}' if name else ''}")
    return [None if row in lacking else mask for row, mask in enumerate(masks)]


def _valid_masks(scan: MaskScan, present: Sequence[Path | None], values: MaskValues, findings: Findings) -> np.ndarray:
    """(P,) bool: masks that can be read and hold only known ids."""
    valid = np.zeros(len(present), bool)
    for row, mask in enumerate(present):
        if mask is None:
            continue
        if fault := decode_name(scan.faults[row]):
            findings.error("unreadable-mask", mask, fault)
            continue
        unknown = values.unknown(scan.counts[row])
        if unknown:
            pixels = int(scan.counts[row][unknown].sum())
            shown = ", ".join(map(str, unknown[:8])) + (", …" if len(unknown) > 8 else "")
            text = f"unknown id {shown} on {pixels:,} pixels; known are {_ranges(values)}"
            findings.error("unknown-id", mask, text)
            continue
        valid[row] = True
    return valid


def _ranges(values: MaskValues) -> str:
    """The known values, ``0…18, 255``."""
    known = np.flatnonzero(values.table != UNKNOWN)
    parts = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}…{part[-1]}" for part in parts)


def _frames(
    paths: Sequence[Path], stated: np.ndarray, masks: Sequence[Path | None], findings: Findings
) -> tuple[np.ndarray, np.ndarray]:
    """The frame of each image: its mask's, upright or as stored.

    Returns:
        (P, 2) int64 sizes for :func:`effdet.data.boxes.check_images`, zeros where the header says it, and (P,) bool
        False for a mask of another size.
    """
    sizes, fitting = np.zeros((len(paths), 2), np.int64), np.ones(len(paths), bool)
    lacking = set(missing(paths))
    for row, path in enumerate(paths):
        size = (int(stated[row, 0]), int(stated[row, 1]))
        if row in lacking or size == (0, 0):
            continue
        try:
            upright, stored = image_sizes(path)
        except DataError:
            continue  # noted with all images
        if size in (upright, stored):
            sizes[row] = size
            continue
        fitting[row] = False
        shown = f"{size[1]}×{size[0]} (width × height)"
        text = f"is {shown}, its image {path} is {upright[1]}×{upright[0]}"
        findings.error("wrong-size", masks[row] or path, text if masks[row] else f"its instance map is {shown}")
    return sizes, fitting
