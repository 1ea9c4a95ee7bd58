"""COCO JSON: any file of that form, or the official layout by its root.

The format: https://cocodataset.org/#format-data. ``bbox`` is [x, y, width, height] in pixels from the top-left corner.
Polygons are not kept: boxes and areas are all that detection needs.

Layouts that are found by ``data.root`` stand in :mod:`effdet.data.coco_layout`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from effdet.data.boxes import Parsed, assemble
from effdet.data.checks import DataError, Findings
from effdet.data.coco_json import parse_file
from effdet.data.coco_layout import annotation_files, find_annotations, find_images
from effdet.data.records import Dataset, RecordTable
from effdet.data.spec import DataSpec
from heads.structures import ClassTable


def open_coco(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of a set in COCO form that `spec` names."""
    annotations, images = spec.annotations, spec.images
    if annotations is None:
        annotations = find_annotations(spec)
    if not annotations.is_file():
        raise DataError(f"{spec.title}: {spec.key('annotations')}={annotations} is not a file")
    if images is not None and not images.is_dir():
        raise DataError(f"{spec.title}: {spec.key('images')}={images} is not a folder")
    table, classes = read_coco(annotations, spec, findings)
    return Dataset(table, classes, name=spec.name, split=spec.split)


def read_coco(path: Path, spec: DataSpec, findings: Findings) -> tuple[RecordTable, ClassTable]:
    """Reads one annotation file.

    Args:
        path: the JSON.
        spec: the set, by which its images and the files of its other splits are looked for.
        findings: takes what is wrong; faulty images and annotations are left out of the result.

    Returns:
        The records, sorted by image id, and the classes, sorted by category id.
    """
    classes, images, boxes = parse_file(path, findings, siblings=lambda: annotation_files(spec))
    root, paths = find_images(spec, path, images.names)
    owner = _positions(boxes.image_ids, images.ids)
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
        names=images.names,
        paths=paths,
        image_ids=images.ids,
        sizes=images.sizes,
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
