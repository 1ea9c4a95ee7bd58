"""Any set -> tar shards and their index."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from effdet.data.checks import DataError
from effdet.data.listing import bytes_of
from effdet.data.records import Dataset, Record, encode_names
from effdet.data.rng import generator
from effdet.data.shards.index import Shard, ShardIndex, index_path, save_index
from effdet.files import replacing

DEFAULT_MB = 256
"""Large enough to be read at a disk's or a network's full speed, small enough to be shuffled by the handful."""


def write_shards(
    source: Dataset,
    directory: str | Path,
    *,
    megabytes: float = DEFAULT_MB,
    shuffle: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Write a split as ``SPLIT-NNNNNN.tar`` and ``SPLIT.index.npz``.

    Images that are files are copied byte for byte; others, and masks, become PNG.

    Args:
        source: the split.
        directory: where to; made if it is not there.
        megabytes: size from which a shard is full, in 10⁶ bytes.
        shuffle: seed by which the images are mixed before they are written, since training mixes only those of a few
            shards at a time; None keeps their order.
        advance: called with the number of images written so far.

    Returns:
        The index.

    Raises:
        DataError: nothing to write, or an image can't be read.
    """
    directory = Path(directory)
    if len(source) == 0:
        raise DataError(f"data={source.name} split={source.split}: there are no images to write")
    if megabytes <= 0:
        raise DataError(f"shards of {megabytes} MB: must be above 0")
    if shuffle is not None:
        source = source.subset(generator(shuffle, "shards").permutation(len(source)))
    directory.mkdir(parents=True, exist_ok=True)
    index_path(directory, source.split).unlink(missing_ok=True)  # whatever happens now, the old index is no longer true
    shards: list[Shard] = []
    rows: list[tuple[int, int, int, int, int]] = []
    names: list[str] = []
    images = _members(source, advance)
    for number, first in enumerate(images):
        name = f"{source.split}-{number:06d}.tar"
        keys = _write_tar(directory / name, first, images, megabytes * 1e6)
        places = _places(directory / name)
        with (directory / name).open("rb") as file:
            shards.append(Shard(name, os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()))
        for key in keys:
            image, mask = places[key], places.get(f"{key}.mask", ("", 0, 0))
            rows.append((number, *image[1:], *mask[1:]))
            names.append(f"{name}/{image[0]}")
    columns = np.array(rows, np.int64).T.copy()
    masks = [f"{name.partition('.tar/')[0]}.tar" if row[4] else "" for name, row in zip(names, rows, strict=True)]
    index = ShardIndex(
        name=source.name,
        labelled=tuple(source.labelled),
        classes=source.classes,
        semantic_classes=source.semantic_classes,
        shards=tuple(shards),
        # Masks of single objects (COCO's segmentations, Cityscapes' instanceIds) are not taken along.
        table=replace(
            source.records,
            root=Path(),
            paths=encode_names(names),
            masks=encode_names(masks),
            instances=None,
            segments=None,
        ),
        shard=columns[0],
        offset=columns[1],
        length=columns[2],
        mask_offset=columns[3],
        mask_length=columns[4],
    )
    path = index_path(directory, source.split)
    save_index(index, path)
    return path


_Files = tuple[str, list[tuple[str, bytes]]]
"""An image's key, and its files: name and content."""


def _members(source: Dataset, advance: Callable[[int], None] | None) -> Iterator[_Files]:
    as_file = type(source).read_image is Dataset.read_image
    for position in range(len(source)):
        record = source.records[position]
        key = f"{position:09d}"
        suffix = (record.image.suffix.lower() or ".jpg") if as_file else ".png"
        content = bytes_of(record.image) if as_file else _png(source.read_image(record))
        files = [(f"{key}{suffix}", content), (f"{key}.json", _annotations(source, record))]
        if (mask := source.read_mask(record)) is not None:
            files.append((f"{key}.mask.png", _png(mask)))
        yield key, files
        if advance is not None:
            advance(position + 1)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _annotations(source: Dataset, record: Record) -> bytes:
    """For other programs: the labels in words. This one reads the index."""
    content: dict[str, Any] = {
        "file_name": record.file_name,
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "boxes": record.boxes.tolist(),
        "labels": [source.classes.names[label] for label in record.labels.tolist()],
        "crowd": record.crowd.tolist(),
    }
    if record.label is not None:
        content["category"] = source.classes.names[record.label]
    return json.dumps(content).encode()


def _write_tar(path: Path, first: _Files, images: Iterator[_Files], full: float) -> list[str]:
    """Writes `first` and as many of `images` as fit; returns their keys."""
    keys = []
    with replacing(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        image: _Files | None = first
        while image is not None:
            key, files = image
            for name, content in files:
                member = tarfile.TarInfo(name)  # owner and time stay 0: the same set gives the same bytes
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            keys.append(key)
            image = next(images, None) if tar.offset < full else None
    return keys


def _places(path: Path) -> dict[str, tuple[str, int, int]]:
    """{key, or key + ``.mask``: (name of the member, first byte, length)}, as a tar reader finds them."""
    found = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            stem, _, suffix = member.name.partition(".")
            if suffix != "json":
                found[f"{stem}.mask" if suffix == "mask.png" else stem] = (member.name, member.offset_data, member.size)
    return found
