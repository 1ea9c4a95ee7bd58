"""Sets with masks: the checks that every mask goes through, and the source that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.boxes import Parsed, assemble
from effdet.data.checks import DataError, Findings, missing
from effdet.data.images import image_sizes
from effdet.data.mask_files import UNKNOWN, MaskValues, read_instances, read_values
from effdet.data.mask_scan import InstanceScan, MaskScan, scan_masks
from effdet.data.records import Record, RecordTable, Source, encode_names
from heads.structures import ClassTable

NO_BOXES = ClassTable((), ())
"""The box classes of a set that labels masks alone."""


class MaskedSource(Source):
    """A source whose masks are files.

    Args:
        values: what the values of the mask files mean.
        instance_values: value of an instance map -> ``1000 · (class + 1) + number``, or 0 for none; None where the set has
            no instance maps.
    """

    def __init__(
        self, *args: Any, values: MaskValues, instance_values: InstanceValues | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.values = values
        self.instance_values = instance_values

    @property
    def void_id(self) -> int:
        return self.values.void

    def read_mask(self, record: Record) -> np.ndarray | None:
        if record.mask is None:
            return None
        labels = self.values.table[read_values(record.mask)]
        _same_size(labels, record.mask, record)
        # Masks were checked when the set was opened; a file may have changed since.
        if (labels == UNKNOWN).any():
            raise DataError(f"{record.mask}: holds an id that the set does not list")
        return labels

    def read_instances(self, record: Record) -> np.ndarray | None:
        if record.instances is None or self.instance_values is None:
            return None
        values = read_instances(record.instances)
        _same_size(values, record.instances, record)
        return self.instance_values(values)


@dataclass(frozen=True, eq=False)
class InstanceValues:
    """Maps ``base · id + number`` of a set's instance maps to ``1000 · (class + 1) + number``."""

    ids: np.ndarray
    """(I,) int64: id -> class, -1 for ids without single objects."""
    base: int = 1000

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(h, w) integers -> (h, w) int32."""
        ids = values // self.base
        classes = np.where(ids < len(self.ids), self.ids[np.minimum(ids, len(self.ids) - 1)], -1)
        return np.where(classes >= 0, 1000 * (classes + 1) + values % self.base, 0).astype(np.int32)


def _same_size(pixels: np.ndarray, path: Path, record: Record) -> None:
    if pixels.shape != record.size:
        shown, wanted = f"{pixels.shape[1]}×{pixels.shape[0]}", f"{record.width}×{record.height}"
        raise DataError(f"{path}: is {shown} (width × height), its picture {record.file_name} is {wanted}")


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a split with their mask files, as a reader found them."""

    root: Path
    names: Sequence[str]
    """(P,) pictures, relative to `root`, sorted."""
    masks: Sequence[Path | None] = ()
    """(P,) mask files; () where masks are not wanted. None, or a file that isn't there, is one of `unmasked`."""
    instances: Sequence[Path | None] = ()
    """(P,) instance maps, likewise; a picture may lack one."""
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
    instances = _existing(pictures.instances, len(pictures))
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
        instances=encode_names([str(path.absolute()) if path else "" for path in instances])[kept],
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
        if fault := scan.faults[row].decode():
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


def _existing(paths: Sequence[Path | None], count: int) -> list[Path | None]:
    if not paths:
        return [None] * count
    lacking = set(missing(path for path in paths if path is not None))
    listed = iter(range(count))
    return [None if path is None or next(listed) in lacking else path for path in paths]


def noted(scan: InstanceScan, paths: Sequence[Path], findings: Findings) -> InstanceScan:
    """Notes the maps that could not be read."""
    for path, fault in zip(paths, scan.faults.tolist(), strict=True):
        if fault:
            findings.error("unreadable-instances", path, fault.decode())
    return scan
