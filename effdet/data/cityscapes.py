"""Cityscapes in its official layout: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` beside ``gtFine/SPLIT/CITY/…``.

Masks come from ``*_gtFine_labelIds.png`` by the official table, so that no trainId files need exist. Boxes come from
``*_gtFine_instanceIds.png``: one for each object of the eight thing classes. A group (a row of parked bicycles that nobody
took apart) bears its class's bare id; all groups of a class in an image are one region, which becomes one crowd box, as in
the usual conversions to COCO's form. Caravans and trailers are left out.

A test split has no truth, or void truth: its images are read all the same, for predictions to submit.

:data:`LABELS` is the official table (cityscapesScripts, ``helpers/labels.py``): ids in files, trainIds inside. Training and
evaluation know the 19 classes with a trainId, everything else is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from effdet.data.boxes import Boxes
from effdet.data.checks import Findings
from effdet.data.listing import listed as files_listed
from effdet.data.mask_index import Images, Objects, build_table, scan_instances
from effdet.data.mask_io import NO_BOXES, InstanceValues, MaskDataset, MaskValues
from effdet.data.records import Dataset
from effdet.data.spec import DataSpec
from effdet.files import decode_name
from heads.structures import ClassTable

INSTANCE_BASE = 1000
"""``instanceIds`` from here on are single objects."""


@dataclass(frozen=True)
class Label:
    """One row of the table."""

    id: int
    name: str
    train_id: int | None = None
    """Place among the 19 classes; None for what is ignored."""
    has_instances: bool = False


LABELS = (
    Label(0, "unlabeled"),
    Label(1, "ego vehicle"),
    Label(2, "rectification border"),
    Label(3, "out of roi"),
    Label(4, "static"),
    Label(5, "dynamic"),
    Label(6, "ground"),
    Label(7, "road", 0),
    Label(8, "sidewalk", 1),
    Label(9, "parking"),
    Label(10, "rail track"),
    Label(11, "building", 2),
    Label(12, "wall", 3),
    Label(13, "fence", 4),
    Label(14, "guard rail"),
    Label(15, "bridge"),
    Label(16, "tunnel"),
    Label(17, "pole", 5),
    Label(18, "polegroup"),
    Label(19, "traffic light", 6),
    Label(20, "traffic sign", 7),
    Label(21, "vegetation", 8),
    Label(22, "terrain", 9),
    Label(23, "sky", 10),
    Label(24, "person", 11, has_instances=True),
    Label(25, "rider", 12, has_instances=True),
    Label(26, "car", 13, has_instances=True),
    Label(27, "truck", 14, has_instances=True),
    Label(28, "bus", 15, has_instances=True),
    Label(29, "caravan", has_instances=True),
    Label(30, "trailer", has_instances=True),
    Label(31, "train", 16, has_instances=True),
    Label(32, "motorcycle", 17, has_instances=True),
    Label(33, "bicycle", 18, has_instances=True),
    # Id -1, which no uint8 file can hold: tools that write it all the same write 255.
    Label(255, "license plate"),
)

TRAINED = tuple(label for label in LABELS if label.train_id is not None)
"""The 19 classes, in the order of their trainIds."""
THINGS = tuple(label for label in TRAINED if label.has_instances)
"""The eight of them that have boxes; caravans and trailers have instances, and are ignored."""

CLASSES = ClassTable(tuple(label.name for label in TRAINED), tuple(label.id for label in TRAINED))
BOX_CLASSES = ClassTable(tuple(label.name for label in THINGS), tuple(label.id for label in THINGS))


IMAGE_END, LABELS_END, INSTANCES_END = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_instanceIds.png"
UNLABELED = 0

VALUES = MaskValues.of(
    {label.id: label.train_id for label in TRAINED if label.train_id is not None},
    ignored=[label.id for label in LABELS if label.train_id is None],
    void=UNLABELED,
)


def _by_id(classes: dict[int, int]) -> np.ndarray:
    """(34,) id -> class, -1 for the others."""
    lookup = np.full(34, -1, np.int64)
    for own, label in classes.items():
        lookup[own] = label
    return lookup


BOX_LABEL = _by_id({label.id: row for row, label in enumerate(THINGS)})
"""Id -> label of its boxes."""
INSTANCE_VALUES = InstanceValues(
    _by_id({label.id: label.train_id for label in THINGS if label.train_id is not None}),
    base=INSTANCE_BASE,
)


def open_cityscapes(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of Cityscapes, or of a set in its form, that `spec` names."""
    images, truth = _directories(spec)
    hidden = spec.split == "test"
    found = files_listed(images, lambda name: name.endswith(IMAGE_END), findings, what=f"NAME{IMAGE_END}")
    names = sorted(path.relative_to(images).as_posix() for path in found)
    stems = [name.removesuffix(IMAGE_END) for name in names]
    known = set(stems)
    for path in () if hidden else files_listed(truth, lambda name: name.endswith(LABELS_END), Findings()):
        stem = path.relative_to(truth).as_posix().removesuffix(LABELS_END)
        if stem not in known:
            findings.error("missing-image", path, f"no image {images / stem}{IMAGE_END}")
    maps = [truth / f"{stem}{INSTANCES_END}" for stem in stems]
    boxes = _boxes(images, names, maps, findings, hidden=hidden) if spec.wants("boxes") else None
    masked = spec.wants("semantic")
    listed = Images(
        root=images,
        names=names,
        masks=[truth / f"{stem}{LABELS_END}" for stem in stems] if masked else (),
        instances=maps if masked else (),
        unmasked=hidden,
    )
    records = build_table(listed, VALUES, len(CLASSES), findings, objects=boxes)
    return MaskDataset(
        records,
        NO_BOXES if boxes is None else BOX_CLASSES,
        name=spec.name,
        split=spec.split,
        labelled=[label for label in ("boxes", "semantic") if spec.wants(label)],
        semantic_classes=CLASSES if masked else None,
        values=VALUES,
        instance_values=INSTANCE_VALUES,
    )


def _directories(spec: DataSpec) -> tuple[Path, Path]:
    """The folders of images and of truth of the split; that of a test split's truth need not exist."""
    images, truth = spec.named_dir("images"), spec.named_dir("annotations")
    if images is None or truth is None:
        root = spec.need_root()
        images = images or root / "leftImg8bit" / spec.file_split
        truth = truth or root / "gtFine" / spec.file_split
    if not images.is_dir():
        raise spec.lacks_split(f"folder leftImg8bit/{spec.file_split}", images="DIR")
    if not truth.is_dir() and spec.split != "test":
        raise spec.lacks_split(f"folder gtFine/{spec.file_split}", annotations="DIR")
    return images, truth


def _boxes(images: Path, names: list[str], maps: list[Path], findings: Findings, *, hidden: bool) -> Objects:
    """The objects of the instance maps."""
    there = np.array([path.is_file() for path in maps], bool)
    rows = np.flatnonzero(there)
    if not hidden:
        for row in np.flatnonzero(~there).tolist():
            findings.error("missing-instances", images / names[row], f"no instance map {maps[row]}")
    present = [maps[row] for row in rows.tolist()]
    found = scan_instances(present, smallest=min(label.id for label in THINGS))
    for path, fault in zip(present, found.faults.tolist(), strict=True):
        if fault:
            findings.error("unreadable-instances", path, decode_name(fault))
    grouped = found.values < INSTANCE_BASE
    ids = np.where(grouped, found.values, found.values // INSTANCE_BASE)
    labels = np.where(ids < len(BOX_LABEL), BOX_LABEL[np.minimum(ids, len(BOX_LABEL) - 1)], -1)
    for row in np.flatnonzero(ids >= len(BOX_LABEL)).tolist():
        text = f"unknown id {found.values[row]}: must be a label's id, or 1000 times one and a number"
        findings.error("unknown-id", present[int(found.owner[row])], text)
    kept = labels >= 0
    sizes = np.zeros((len(maps), 2), np.int64)
    sizes[rows] = found.sizes
    boxes = Boxes(rows[found.owner[kept]], labels[kept], found.bbox[kept], crowd=grouped[kept], area=found.area[kept])
    return Objects(boxes, sizes, labelled=there, files=[str(path) for path in maps])
