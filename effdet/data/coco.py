"""COCO JSON: any file of that form, or a layout that tools export, by its root.

The format: https://cocodataset.org/#format-data. ``bbox`` is [x, y, width, height] in pixels from the top-left corner.
Polygons are kept only for a training that pastes objects; boxes and areas are all that detection needs.

Found below ``data.root`` are the official layout, Roboflow's and CVAT's exports, FiftyOne's (``data/`` beside
``labels.json``), Label Studio's (``result.json``), and what is named likewise. A set with one annotation file and no splits
is all train; ``data.val_fraction`` then holds out val.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.boxes import Boxes, assemble
from effdet.data.checks import DataError, Findings
from effdet.data.coco_json import called, parse_file
from effdet.data.object_masks import ObjectMasks, read_object_masks
from effdet.data.records import Dataset, RecordTable
from effdet.data.spec import SPLIT_DIRS, SPLITS, DataSpec, inside
from effdet.files import is_hidden
from heads.structures import ClassTable

OF_SPLIT = (
    *("annotations/instances_{}.json", "annotations/instances_{}2017.json", "annotations/instances_{}[0-9]*.json"),
    *("{}/_annotations.coco.json", "annotations/{}.json", "annotations/{}_annotations.json", "{}.json"),
    *("{}/labels.json", "{}/annotations.json", "{}/instances.json", "{}/result.json", "{}/coco.json"),
    *("{}_annotations.coco.json", "instances_{}.json", "{}/annotations/instances*.json"),
)
"""Paths below the root, for each name of a split."""
WITHOUT_SPLITS = (
    *("annotations/instances_default.json", "annotations/instances.json", "annotations/annotations.json"),
    *("labels.json", "_annotations.coco.json", "annotations.json", "instances.json", "result.json", "coco.json"),
)
"""Paths below the root of a set that has one annotation file."""
SAMPLE = 20
"""Images of a file that are looked for in each folder."""


def find_annotations(spec: DataSpec) -> Path:
    """The annotation file of the split under ``data.root``.

    Raises:
        MissingSplit: there is none.
        DataError: several fit.
    """
    root = spec.need_root()
    for split in SPLIT_DIRS[spec.file_split]:
        for pattern in OF_SPLIT:
            found = _matching(root, pattern.format(split))
            if len(found) > 1:
                names = ", ".join(path.name for path in found)
                raise DataError(f"{spec.title}: {names} all fit; choose with {spec.key('annotations')}=FILE")
            if found:
                return found[0]
    if spec.file_split == "train":
        for pattern in WITHOUT_SPLITS:
            if found := _matching(root, pattern):
                return found[0]
    raise spec.lacks_split(f"annotations/instances_{spec.file_split}*.json", annotations="FILE")


def annotation_files(spec: DataSpec) -> list[Path]:
    """The annotation files of all splits that are there."""
    files = []
    for split in SPLITS:
        other = replace(spec, split=split, val_fraction=None)
        try:
            path = other.annotations or find_annotations(other)
        except DataError:
            continue
        if path.is_file():
            files.append(path)
    return files


def find_images(spec: DataSpec, annotations: Path, names: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder in which the images of an annotation file lie, and their paths below it.

    A path that another machine wrote (``/home/a/set/train/1.jpg``, ``D:\\set\\train\\1.jpg``) loses as many of its
    leading folders as it must for the images to be found below the folder, but never makes two images one.

    Args:
        names: the ``file_name`` entries of `annotations`, with forward slashes.

    Raises:
        DataError: no image is found.
    """
    if spec.images is not None:
        found = (paths for paths in _shorter(names) if _found(spec.images, paths, spec.images))
        return spec.images, next(found, list(names))  # each missing image is noted by name
    directories = [directory for directory in dict.fromkeys(_directories(spec, annotations)) if directory.is_dir()]
    base = spec.root if spec.root is not None else annotations.parent.parent
    # What lies inside data.root goes before what a path leads to elsewhere (``../other``, an absolute path).
    for within in (True, False):
        for paths in _shorter(names) if within else [list(names)]:
            counts = [_found(directory, paths, base if within else None) for directory in directories]
            if counts and max(counts):
                directory = directories[counts.index(max(counts))]
                return directory, [_without_dots(directory, path) for path in paths]
    if not names:
        return annotations.parent, []
    tried = ", ".join(str(directory) for directory in directories)
    raise DataError(
        f"{spec.title}: no image of {annotations} found, such as {names[0]!r}; looked in {tried}: "
        f"name the folder with {spec.key('images')}=DIR",
        kind="missing-images",
        file=annotations,
    )


def _shorter(names: Sequence[str]) -> Iterator[list[str]]:
    """The names without 0, 1, 2, … leading folders, as long as all have them and no two become one."""
    for cut in range(min((name.count("/") for name in names), default=0) + 1):
        paths = [name.split("/", cut)[-1] for name in names] if cut else list(names)
        if len(set(paths)) < len(set(names)):
            return
        yield paths


def _found(directory: Path, paths: Sequence[str], base: Path | None) -> int:
    """How many of the first `paths` are files below `directory`, and inside `base`."""
    whole = (directory / path for path in paths[:SAMPLE])
    return sum(path.is_file() and (base is None or inside(path, base)) for path in whole)


def _directories(spec: DataSpec, annotations: Path) -> Iterator[Path]:
    """Where the images may lie, the most likely first."""
    root = spec.root if spec.root is not None else annotations.parent
    year = annotations.stem.rpartition("_")[2]
    splits = SPLIT_DIRS[spec.file_split]
    yield from (root / year, root / "images" / year)
    for split in splits:
        yield from _child(root, split)
    for images in _child(root, "images"):
        for split in splits:
            yield from _child(images, split)
        yield images
    yield from (annotations.parent, root, root / "leftImg8bit" / spec.file_split)
    for base in (annotations.parent, root, annotations.parent.parent):
        yield from (base / "images", base / "data", base / "JPEGImages", base)


def _matching(root: Path, pattern: str) -> list[Path]:
    """Files below `root` whose path has the pattern's parts, in any case (CVAT's subsets are called as users type them)."""
    places = [root]
    for part in pattern.lower().split("/"):
        places = [entry for place in places for entry in _entries(place) if fnmatch(entry.name.lower(), part)]
    return [place for place in places if place.is_file()]


def _child(directory: Path, name: str) -> list[Path]:
    return [entry for entry in _entries(directory) if entry.name.lower() == name and entry.is_dir()]


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(entry for entry in directory.iterdir() if not is_hidden(entry.name))
    except OSError:
        return []


def _without_dots(directory: Path, path: str) -> str:
    """``b/../a.jpg`` as ``a.jpg``: the identity of a file is its path."""
    if "." not in path.split("/") and ".." not in path.split("/"):
        return path
    whole = Path(os.path.normpath(directory / path))
    return (whole.relative_to(directory) if whole.is_relative_to(directory) else whole).as_posix()


def open_coco(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of a set in COCO form that `spec` names."""
    annotations = spec.named_file() or find_annotations(spec)
    spec.named_dir("images")
    table, classes = read_coco(annotations, spec, findings)
    masks = None
    if spec.objects:
        masks, rows = read_object_masks(annotations, table)
        table = replace(table, segments=rows)
    return CocoDataset(table, classes, name=spec.name, split=spec.split, masks=masks)


class CocoDataset(Dataset):
    """A split in COCO form; the masks of its objects where they were asked for."""

    def __init__(self, *args: Any, masks: ObjectMasks | None = None, **options: Any) -> None:
        """
        Args:
            args, options: as for :class:`effdet.data.records.Dataset`.
            masks: of the objects; `segments` of the records are rows of it.
        """
        super().__init__(*args, **options)
        self._masks = masks

    def masked_objects(self) -> np.ndarray | None:
        segments = self.records.segments
        return None if segments is None else segments >= 0

    def read_objects(self, index: int, rows: np.ndarray) -> list[np.ndarray]:
        table = self.records
        assert table.segments is not None and self._masks is not None
        segments = table.segments[int(table.starts[index]) + rows].tolist()
        height, width = table.sizes[index].tolist()
        return [self._masks.read(segment, (height, width)) for segment in segments]


def read_coco(path: Path, spec: DataSpec, findings: Findings) -> tuple[RecordTable, ClassTable]:
    """Reads one annotation file; by `spec` its images and the files of the set's other splits are looked for.

    Returns:
        The records, sorted by image id, without what is faulty, and the classes, sorted by category id.
    """
    classes, images, boxes = parse_file(path, findings, siblings=lambda: annotation_files(spec))
    root, paths = find_images(spec, path, images.names)
    owner = _positions(boxes.image_ids, images.ids)
    label = _positions(boxes.category_ids, np.array(classes.ids, np.int64))

    def where(row: int) -> tuple[str, str]:
        return str(path), called(int(boxes.ids[row]), boxes.places[row])

    for kind, key, ids, found, those in (
        ("unknown-image", "image_id", boxes.image_ids, owner, "images"),
        ("unknown-category", "category_id", boxes.category_ids, label, "categories"),
    ):
        for row in np.flatnonzero(found < 0).tolist():
            findings.error(kind, path, f"{key} {ids[row]} is not among the {those}", item=where(row)[1])
    found = Boxes(owner, label, boxes.bbox, crowd=boxes.crowd, area=boxes.area, annotation_ids=boxes.ids)
    found = replace(found, segments=boxes.places) if spec.objects else found
    table = assemble(root, images.names, found, where, findings, sizes=images.sizes, image_ids=images.ids, paths=paths)
    return table, classes


def _positions(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(N,) where each of `values` stands in the sorted `among`, -1 where it does not."""
    if len(among) == 0:
        return np.full(len(values), -1, np.int64)
    found = np.searchsorted(among, values).clip(0, len(among) - 1)
    return np.where(among[found] == values, found, -1)
