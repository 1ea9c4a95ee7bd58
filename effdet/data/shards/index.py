"""The index of a split in shards: ``SPLIT.index.npz``, everything but the images.

The tars are in webdataset's form (``KEY.jpg``, ``KEY.json``, ``KEY.mask.png``), which other programs read from front to
back. The index holds the labels of all images and where in which tar each lies, so that any image is one read away: that
is what lets a run go on in mid-shard, and evaluate without a pass over everything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from effdet.data.checks import DataError
from effdet.data.records import RecordTable
from effdet.files import replacing
from effdet.weights.read import BoundsError, check_archive
from heads.structures import ClassTable

FORMAT = 1
_TABLE = "table_"
_PLACES = ("shard", "offset", "length", "mask_offset", "mask_length")
_KINDS = {"image_ids": "i", "file_names": "S", "paths": "S", "sizes": "i", "starts": "i", "bbox": "f", "labels": "i",
          "crowd": "b", "area": "f", "annotation_ids": "i", "masks": "S", "categories": "i", "has_boxes": "b",
          "class_pixels": "iu"}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One tar."""

    file: str
    """A plain name, in the folder of the index."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """A split: its labels, its shards, and where each image lies."""

    name: str
    """Of the set that was written."""
    labelled: tuple[str, ...]
    classes: ClassTable
    semantic_classes: ClassTable | None
    shards: tuple[Shard, ...]
    table: RecordTable
    shard: np.ndarray
    """(P,) int64 number of the shard, never falling."""
    offset: np.ndarray
    """(P,) int64 first byte of the image's file in its shard."""
    length: np.ndarray
    """(P,) int64 bytes."""
    mask_offset: np.ndarray
    """(P,) int64; 0 where there is none."""
    mask_length: np.ndarray


def index_path(directory: Path, split: str) -> Path:
    return directory / f"{split}.index.npz"


def save_index(index: ShardIndex, path: Path) -> None:
    """Write whole or not at all: a folder with an index is complete."""
    about = {
        "format": FORMAT,
        "name": index.name,
        "labelled": sorted(index.labelled),
        "classes": index.classes.to_dict(),
        "semantic_classes": None if index.semantic_classes is None else index.semantic_classes.to_dict(),
        "shards": [vars(shard) for shard in index.shards],
    }
    arrays = {f"{_TABLE}{name}": values for name, values in index.table.arrays().items()}
    arrays |= {name: getattr(index, name) for name in _PLACES}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with replacing(path) as partial:
        np.savez(partial, **arrays)  # pyright: ignore[reportArgumentType]


def load_index(path: Path, *, root: Path | None = None) -> ShardIndex:
    """Read an index; it may come from anywhere, so every number is checked before it is followed.

    Args:
        path: of the index.
        root: the folder of the shards, if not that of the index.

    Raises:
        DataError: not there, damaged, or shards that would lie outside of its folder.
    """
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        about = json.loads(arrays.pop("about").tobytes())
        index = _index(about, arrays, root or path.parent)
    except FileNotFoundError:
        raise DataError(f"{path}: no such index; write the set with `effdet shards data=… out={path.parent}`") from None
    except BoundsError as error:
        raise DataError(str(error)) from None
    except Exception as error:  # a forged file may meet any line of NumPy's reader
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{path}: damaged, or no index of shards ({reason})") from None
    return index


def _index(about: dict[str, Any], arrays: dict[str, np.ndarray], root: Path) -> ShardIndex:
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']!r}, this version reads {FORMAT}")
    shards = tuple(Shard(str(row["file"]), int(row["size"]), str(row["sha256"])) for row in about["shards"])
    for name in (shard.file for shard in shards):
        if PurePosixPath(name).name != name or "\\" in name or "\0" in name or not name.endswith(".tar"):
            raise ValueError(f"shard {name!r} must be a plain name that ends in .tar, in the folder of the index")
    columns = {name.removeprefix(_TABLE): values for name, values in arrays.items() if name.startswith(_TABLE)}
    _check_columns(columns)
    table = RecordTable(root=root, **columns)
    semantic = about["semantic_classes"]
    index = ShardIndex(
        name=str(about["name"]),
        labelled=tuple(map(str, about["labelled"])),
        classes=ClassTable.from_dict(about["classes"]),
        semantic_classes=None if semantic is None else ClassTable.from_dict(semantic),
        shards=shards,
        table=table,
        **{name: arrays[name] for name in _PLACES},
    )
    _check_places(index)
    return index


def _check_columns(columns: dict[str, np.ndarray]) -> None:
    known = {field.name for field in fields(RecordTable)} - {"root", "instances", "segments"}
    optional = {"masks", "categories", "has_boxes", "class_pixels"}
    if columns.keys() - known or known - optional - columns.keys():
        raise ValueError(f"columns {sorted(columns)} are not those of this version")
    images, boxes = len(columns["image_ids"]), len(columns["labels"])
    per_box = {"bbox": (boxes, 4), "labels": (boxes,), "crowd": (boxes,), "area": (boxes,), "annotation_ids": (boxes,)}
    shapes = per_box | {"sizes": (images, 2), "starts": (images + 1,)}
    if "class_pixels" in columns:
        shapes["class_pixels"] = (images, columns["class_pixels"].shape[-1])
    for name, values in columns.items():
        if values.shape != shapes.get(name, (images,)) or values.dtype.kind not in _KINDS[name]:
            raise ValueError(f"column {name} is {values.dtype} {values.shape}")
    starts, sizes = columns["starts"], columns["sizes"]
    if starts[0] != 0 or starts[-1] != boxes or (np.diff(starts) < 0).any() or (sizes <= 0).any():
        raise ValueError("the columns don't fit together")
    if not np.isfinite(columns["bbox"]).all():
        raise ValueError("boxes that are not finite")


def _check_places(index: ShardIndex) -> None:
    images = len(index.table)
    for name in _PLACES:
        values = getattr(index, name)
        if values.shape != (images,) or values.dtype != np.int64 or (values < 0).any():
            raise ValueError(f"column {name} is {values.dtype} {values.shape}, or falls below 0")
    if images and ((np.diff(index.shard) < 0).any() or index.shard[-1] >= len(index.shards)):
        raise ValueError("the shards' numbers don't rise, or go beyond the list of shards")
    sizes = np.array([shard.size for shard in index.shards], np.int64)[index.shard] if images else np.zeros(0, np.int64)
    for offset, length in ((index.offset, index.length), (index.mask_offset, index.mask_length)):
        if (length > sizes).any() or (offset > sizes - length).any():
            raise ValueError("an image lies outside of its shard")
    labels, classes = index.table.labels, len(index.classes)
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels beyond the {classes} classes")
