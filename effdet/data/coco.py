"""COCO JSON: any file of that form, or the official layout by its root.

The format: https://cocodataset.org/#format-data. ``bbox`` is [x, y, width, height] in pixels from the top-left corner.
Polygons are not kept: boxes and areas are all that detection needs.

Layouts that are found by ``data.root``: the official one (``annotations/instances_val2017.json`` beside
``val2017/``), the same without years, and pictures beside their own JSON (``valid/_annotations.coco.json``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from effdet.data.boxes import Parsed, assemble
from effdet.data.checks import DataError, Findings
from effdet.data.coco_json import parse_file
from effdet.data.records import RecordTable, Source
from effdet.data.spec import DataSpec
from heads.structures import ClassTable

FOLDER_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def open_coco(spec: DataSpec, findings: Findings) -> Source:
    """The split of a set in COCO form that `spec` names."""
    annotations, images = spec.annotations, spec.images
    if annotations is None:
        annotations = find_annotations(spec)
    if not annotations.is_file():
        raise DataError(f"{spec.title}: data.{spec.file_split}_annotations={annotations} is not a file")
    if images is not None and not images.is_dir():
        raise DataError(f"{spec.title}: data.{spec.file_split}_images={images} is not a folder")
    table, classes = read_coco(annotations, images or spec, findings)
    return Source(table, classes, name=spec.name, split=spec.split)


def find_annotations(spec: DataSpec) -> Path:
    """The annotation file of the split under ``data.root``."""
    root = spec.need_root()
    for split in FOLDER_NAMES[spec.file_split]:
        for pattern in (
            f"annotations/instances_{split}.json",
            f"annotations/instances_{split}2017.json",
            f"annotations/instances_{split}[0-9]*.json",
            f"{split}/_annotations.coco.json",
            f"annotations/{split}.json",
            f"{split}.json",
        ):
            found = sorted(root.glob(pattern))
            if len(found) > 1:
                names = ", ".join(path.name for path in found)
                raise DataError(f"{spec.title}: {names} all fit; choose with data.{spec.file_split}_annotations=PATH")
            if found:
                return found[0]
    raise spec.lacks_split(f"annotations/instances_{spec.file_split}*.json")


def find_images(spec: DataSpec, annotations: Path, names: list[str]) -> Path:
    """The folder in which the first pictures of an annotation file lie."""
    root = spec.root if spec.root is not None else annotations.parent
    year = annotations.stem.rsplit("_", 1)[-1]
    splits = FOLDER_NAMES[spec.file_split]
    folders = [root / year, root / "images" / year, *(root / split for split in splits)]
    folders += [*(root / "images" / split for split in splits), root / "images", annotations.parent, root]
    folders += [root / "leftImg8bit" / spec.file_split]
    folders += [annotations.parent / "images", annotations.parent.parent]
    counts = [sum((folder / name).is_file() for name in names[:20]) for folder in folders]
    best = int(np.argmax(counts))
    if names and counts[best] == 0:
        tried = ", ".join(str(folder) for folder in dict.fromkeys(folders) if folder.is_dir())
        raise DataError(
            f"{spec.title}: no picture of {annotations} found, such as {names[0]!r}; looked in {tried}: "
            f"name the folder with data.{spec.file_split}_images=DIR",
            kind="missing-pictures",
            file=annotations,
        )
    return folders[best]


def read_coco(path: Path, images: Path | DataSpec, findings: Findings) -> tuple[RecordTable, ClassTable]:
    """Reads one annotation file.

    Args:
        path: the JSON.
        images: the folder of its pictures, or the spec by which to look for it.
        findings: takes what is wrong; faulty pictures and annotations are left out of the result.

    Returns:
        The records, sorted by image id, and the classes, sorted by category id.
    """
    classes, pictures, boxes = parse_file(path, findings)
    root = images if isinstance(images, Path) else find_images(images, path, pictures.names)
    owner = _positions(boxes.image_ids, pictures.ids)
    label = _positions(boxes.category_ids, np.array(classes.ids, np.int64))

    def where(row: int) -> tuple[str, str]:
        return str(path), boxes.called(row)

    for row in np.flatnonzero(owner < 0).tolist():
        text = f"image_id {boxes.image_ids[row]} is not among the images"
        findings.error("unknown-image", path, text, item=where(row)[1])
    for row in np.flatnonzero(label < 0).tolist():
        text = f"category_id {boxes.category_ids[row]} is not among the categories"
        findings.error("unknown-category", path, text, item=where(row)[1])
    parsed = Parsed(
        root=root,
        names=pictures.names,
        image_ids=pictures.ids,
        sizes=pictures.sizes,
        owner=owner,
        labels=label,
        bbox=boxes.bbox,
        crowd=boxes.crowd,
        area=boxes.area,
        annotation_ids=boxes.ids,
    )
    return assemble(parsed, where, findings), classes


def _positions(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(N,) where each of `values` stands in the sorted `among`, -1 where it does not."""
    if len(among) == 0:
        return np.full(len(values), -1, np.int64)
    found = np.searchsorted(among, values).clip(0, len(among) - 1)
    return np.where(among[found] == values, found, -1)
