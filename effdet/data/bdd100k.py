"""BDD100K in its published layout: boxes of the 100k images, masks of the 10k images.

Boxes: ``images/100k/SPLIT`` with ``labels/det_20/det_SPLIT.json`` (or the first release's
``labels/bdd100k_labels_images_SPLIT.json``). Masks: ``images/10k/SPLIT`` with ``labels/sem_seg/masks/SPLIT`` (or the first
release's ``seg/images/SPLIT`` with ``seg/labels/SPLIT/*_train_id.png``), whose values are Cityscapes' trainIds.

The 10k images are no part of the 100k ones, so that both together are a mixed set: each image adds the loss of what it
labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from effdet.data.bdd100k_json import CLASSES, parse_frames
from effdet.data.boxes import HEADERS_CHECKED, Parsed, assemble
from effdet.data.checks import DataError, Findings, MissingSplit
from effdet.data.cityscapes_labels import TRAINED
from effdet.data.image_mask_folders import paired
from effdet.data.mask_index import Images, build_table
from effdet.data.mask_io import NO_BOXES, MaskDataset, MaskValues
from effdet.data.mixed import MixedDataset
from effdet.data.records import Dataset
from effdet.data.spec import DataSpec
from heads.structures import ClassTable

SEMANTIC_CLASSES = ClassTable(tuple(label.name for label in TRAINED), tuple(range(len(TRAINED))))
VALUES = MaskValues.of({value: value for value in range(len(TRAINED))})
SIZE = (720, 1280)
"""(height, width) of all images."""


def open_bdd100k(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of BDD100K that `spec` names: its boxes, its masks, or both."""
    parts: list[Dataset] = []
    lacking: list[DataError] = []
    for label, opener in (("boxes", _open_boxes), ("semantic", _open_masks)):
        if spec.wants(label):
            try:
                parts.append(opener(spec, findings))
            except DataError as error:
                lacking.append(error)
    if lacking and (spec.requested is not None or not parts):
        missing = all(isinstance(error, MissingSplit) for error in lacking)
        raise (MissingSplit if missing else DataError)("\n".join(map(str, lacking)))
    return parts[0] if len(parts) == 1 else MixedDataset(parts, name=spec.name, split=spec.split)


def _bases(spec: DataSpec) -> list[Path]:
    root = spec.need_root()
    return [root, root / "bdd100k"]


def _named(spec: DataSpec, label: str) -> tuple[Path | None, Path | None]:
    """The images and the annotations of `label` that the user names: a file of annotations lists boxes, a folder holds
    masks; images go with them, and with the boxes where only they are named."""
    images, annotations = spec.images, spec.annotations
    if annotations is not None:
        if not annotations.exists():
            raise DataError(f"{spec.title}: {spec.key('annotations')}={annotations} is not there")
        meant = "semantic" if annotations.is_dir() else "boxes"
    else:
        meant = label if spec.requested is not None else "boxes"
    if images is not None and not images.is_dir():
        raise DataError(f"{spec.title}: {spec.key('images')}={images} is not a folder")
    return (images, annotations) if meant == label else (None, None)


def _open_boxes(spec: DataSpec, findings: Findings) -> Dataset:
    split = spec.file_split
    images, listing = _named(spec, "boxes")
    listing = listing or next(
        (
            path
            for base in _bases(spec)
            for name in (f"det_20/det_{split}.json", f"bdd100k_labels_images_{split}.json")
            if (path := base / "labels" / name).is_file()
        ),
        None,
    )
    if listing is None:
        raise spec.lacks_split(f"labels/det_20/det_{split}.json", annotations="FILE")
    images = images or next(
        (base / "images" / "100k" / split for base in _bases(spec) if (base / "images" / "100k").is_dir()), None
    )
    if images is None:
        raise spec.lacks_split(f"folder images/100k/{split}", images="DIR")
    frames = parse_frames(listing, findings)
    count = len(frames.names)
    sizes = np.zeros((count, 2), np.int64) if count <= HEADERS_CHECKED else np.tile(SIZE, (count, 1))
    parsed = Parsed(
        root=images,
        names=frames.names,
        image_ids=np.arange(1, count + 1),
        sizes=sizes,
        owner=frames.owner,
        labels=frames.labels,
        bbox=frames.bbox,
        crowd=frames.crowd,
    )
    table = assemble(parsed, lambda row: (str(listing), f"{frames.names[frames.owner[row]]}, box {row}"), findings)
    return Dataset(table, CLASSES, name=spec.name, split=spec.split)


def _open_masks(spec: DataSpec, findings: Findings) -> Dataset:
    split = spec.file_split
    own_images, own_masks = _named(spec, "semantic")
    for base in _bases(spec) if own_images is None or own_masks is None else [Path()]:
        for images, masks, suffix in (
            (base / "images" / "10k" / split, base / "labels" / "sem_seg" / "masks" / split, ""),
            (base / "seg" / "images" / split, base / "seg" / "labels" / split, "_train_id"),
        ):
            images, masks = own_images or images, own_masks or masks
            if own_masks is not None:
                suffix = "_train_id" if next(masks.glob("*_train_id.png"), None) else ""
            if images.is_dir() and (masks.is_dir() or spec.split == "test"):
                names, files = paired(images, masks, findings, mask_suffix=suffix)
                listed = Images(images, names, files, unmasked=spec.split == "test")
                return MaskDataset(
                    build_table(listed, VALUES, len(SEMANTIC_CLASSES), findings),
                    NO_BOXES,
                    name=spec.name,
                    split=spec.split,
                    labelled=("semantic",),
                    semantic_classes=SEMANTIC_CLASSES,
                    values=VALUES,
                )
    raise spec.lacks_split(f"images/10k/{split} beside labels/sem_seg/masks/{split}", images="DIR", annotations="DIR")
