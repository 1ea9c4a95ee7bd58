"""The checks that every set with masks goes through: pictures, masks and boxes against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from effdet.data.boxes import Parsed, assemble
from effdet.data.checks import DataError, Findings, missing
from effdet.data.images import image_sizes
from effdet.data.mask_files import UNKNOWN, MaskValues
from effdet.data.mask_scan import InstanceScan, MaskScan, scan_masks
from effdet.data.records import RecordTable, encode_names
from effdet.files import decode_name


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a split with their mask files, as a reader found them."""

    root: Path
    names: Sequence[str]
    """(P,) pictures, relative to `root`, sorted."""
    masks: Sequence[Path | None] = ()
    """(P,) mask files; () where masks are not wanted. None, or a file that isn't there, is one of `unmasked`."""
    instances: Sequence[Path] = ()
    """(P,) instance maps, likewise; those that aren't there are passed over."""
    unmasked: bool = False
    """Whether pictures may lack a mask (a test split whose truth is kept back)."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def paths(self) -> list[Path]:
        return [self.root / name for name in self.names]


def build_table(
    pictures: Pictures, values: MaskValues, classes: int, findings: Findings, *, boxes: Boxes | None = None
) -> RecordTable:
    """Checks pictures, masks and boxes against each other; each fault becomes a finding.

    Args:
        pictures: files.
        values: what the masks' values mean.
        classes: number K of semantic classes.
        findings: takes what is wrong; a picture with a faulty mask is kept without it.
        boxes: the objects; None for a set that labels no boxes.
    """
    masks = list(pictures.masks) or [None] * len(pictures)
    present = _present(pictures, masks, findings)
    scan = _scattered(scan_masks([mask for mask in present if mask is not None]), present)
    sound = _sound_masks(scan, present, values, findings)
    lacking = set(missing(pictures.instances))
    instances = ["" if row in lacking else str(path.absolute()) for row, path in enumerate(pictures.instances)]
    stated = scan.sizes if boxes is None else np.where(scan.sizes > 0, scan.sizes, boxes.sizes)
    sizes, fitting = _frames(pictures.paths, stated, present, findings)
    sound &= fitting
    ids = np.arange(1, len(pictures) + 1)
    objects = boxes or Boxes.none(len(pictures))
    table = assemble(
        Parsed(
            root=pictures.root,
            names=pictures.names,
            image_ids=ids,
            sizes=sizes,
            owner=objects.owner,
            labels=objects.labels,
            bbox=objects.bbox,
            crowd=objects.crowd,
            area=objects.area,
        ),
        objects.where,
        findings,
    )
    kept = table.image_ids - 1
    shown = [str(mask.absolute()) if mask is not None and sound[row] else "" for row, mask in enumerate(present)]
    pixels = values.class_pixels(np.where(sound[:, None], scan.counts, 0), classes)
    return replace(
        table,
        masks=encode_names(shown)[kept],
        instances=encode_names(instances)[kept] if instances else None,
        class_pixels=pixels[kept] if pictures.masks else None,
        has_boxes=objects.labelled[kept],
    )


@dataclass(frozen=True, eq=False)
class Boxes:
    """The objects of P pictures, N in all, found in instance maps or elsewhere."""

    owner: np.ndarray
    """(N,) int64 position of each box's picture."""
    labels: np.ndarray
    """(N,) int64."""
    bbox: np.ndarray
    """(N, 4) float64 xywh, original pixels."""
    crowd: np.ndarray
    """(N,) bool."""
    area: np.ndarray
    """(N,) float64."""
    sizes: np.ndarray
    """(P, 2) int64 height, width of the maps; zeros where unknown."""
    labelled: np.ndarray
    """(P,) bool: pictures whose boxes are known."""
    files: Sequence[str] = ()
    """(P,) where messages say that the boxes stand."""

    @classmethod
    def none(cls, pictures: int) -> Boxes:
        empty = np.zeros(0, np.int64)
        sizes, labelled = np.zeros((pictures, 2), np.int64), np.zeros(pictures, bool)
        return cls(empty, empty, np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0), sizes, labelled)

    def where(self, row: int) -> tuple[str, str]:
        """(file, object) of a box, for messages."""
        return self.files[int(self.owner[row])], f"object {row}"


def _present(pictures: Pictures, masks: Sequence[Path | None], findings: Findings) -> list[Path | None]:
    """The masks that are there; the others are noted."""
    if not pictures.masks:
        return [None] * len(pictures)
    listed = [row for row, mask in enumerate(masks) if mask is not None]
    lacking = {listed[place] for place in missing(path for path in masks if path is not None)}
    lacking |= set(range(len(masks))) - set(listed)
    if not pictures.unmasked:
        for row in sorted(lacking):
            name = masks[row]
            findings.error("missing-mask", pictures.root / pictures.names[row], f"no mask{f' {name}' if name else ''}")
    return [None if row in lacking else mask for row, mask in enumerate(masks)]


def _scattered(scan: MaskScan, present: Sequence[Path | None]) -> MaskScan:
    """The scan of the masks that are there, in rows of the pictures."""
    rows = np.array([row for row, mask in enumerate(present) if mask is not None], np.int64)
    sizes, counts = np.zeros((len(present), 2), np.int64), np.zeros((len(present), 256), np.int64)
    faults = np.zeros(len(present), scan.faults.dtype)
    sizes[rows], counts[rows], faults[rows] = scan.sizes, scan.counts, scan.faults
    return MaskScan(sizes, counts, faults)


def _sound_masks(scan: MaskScan, present: Sequence[Path | None], values: MaskValues, findings: Findings) -> np.ndarray:
    """(P,) bool: masks that can be read and hold known ids alone."""
    sound = np.zeros(len(present), bool)
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
        sound[row] = True
    return sound


def _ranges(values: MaskValues) -> str:
    """The known values, ``0…18, 255``."""
    known = np.flatnonzero(values.table != UNKNOWN)
    parts = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}…{part[-1]}" for part in parts)


def _frames(
    paths: Sequence[Path], stated: np.ndarray, masks: Sequence[Path | None], findings: Findings
) -> tuple[np.ndarray, np.ndarray]:
    """The frame of each picture: its mask's, upright or as stored.

    Returns:
        (P, 2) int64 sizes for :func:`effdet.data.boxes.check_pictures`, zeros where the header says it, and (P,) bool
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
            continue  # noted with all pictures
        if size in (upright, stored):
            sizes[row] = size
            continue
        fitting[row] = False
        shown = f"{size[1]}×{size[0]} (width × height)"
        text = f"is {shown}, its picture {path} is {upright[1]}×{upright[0]}"
        findings.error("wrong-size", masks[row] or path, text if masks[row] else f"its instance map is {shown}")
    return sizes, fitting


def noted(scan: InstanceScan, paths: Sequence[Path], findings: Findings) -> InstanceScan:
    """Notes the maps that could not be read."""
    for path, fault in zip(paths, scan.faults.tolist(), strict=True):
        if fault:
            findings.error("unreadable-instances", path, decode_name(fault))
    return scan
