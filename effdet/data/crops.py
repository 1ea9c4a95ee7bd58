"""The things of a detection set as images of their own: each box cut out, with its class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from effdet.data.boxes import category_table
from effdet.data.checks import DataError, Findings
from effdet.data.images import OnError
from effdet.data.listing import json_of
from effdet.data.records import Dataset, Record, xyxy
from effdet.files import decode_name
from heads.structures import ClassTable

MARGIN = 0.1
"""Share of the box's longer side that is left around it on each side, as far as the image goes."""
MIN_SIDE = 12.0
"""Pixels: the longer side of the smallest thing that is cut out."""


class CropDataset(Dataset):
    """Cut-out things; made by :meth:`of`. Record k + 1 is window k of the scenes."""

    _scenes: Dataset
    _owners: np.ndarray
    """(N,) position of each window's scene."""
    _windows: np.ndarray
    """(N, 4) int64 xyxy, pixels of the scene."""
    annotation_ids: np.ndarray
    """(N,) int64 the set's own id of each window's thing."""

    @classmethod
    def of(cls, scenes: Dataset) -> CropDataset:
        """Every box of `scenes` of `MIN_SIDE` and more that is no crowd.

        Raises:
            DataError: there is none.
        """
        table = scenes.records
        owners = np.repeat(np.arange(len(table)), np.diff(table.starts))
        chosen = np.flatnonzero(~table.crowd & (table.bbox[:, 2:].max(axis=1, initial=0) >= MIN_SIDE))
        if len(chosen) == 0:
            raise DataError(f"data={scenes.name}: no thing is large enough to be cut out ({MIN_SIDE:g} pixels)")
        owners, boxes = owners[chosen], xyxy(table.bbox[chosen])
        margin = MARGIN * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
        limits = np.tile(table.sizes[owners][:, ::-1], (1, 2))
        low = np.clip(np.floor(boxes - margin), 0, limits - 1)[:, :2]
        high = np.maximum(np.clip(np.ceil(boxes + margin), 0, limits)[:, 2:], low + 1)
        windows = np.concatenate([low, high], axis=1).astype(np.int64)
        files, numbers = table.file_names[owners].tolist(), table.annotation_ids[chosen].tolist()
        names = [f"{decode_name(file)}#{number}" for file, number in zip(files, numbers, strict=True)]
        sizes = (windows[:, 2:] - windows[:, :2])[:, ::-1]
        paths = [decode_name(path) for path in table.paths[owners].tolist()]
        records = category_table(table.root, names, table.labels[chosen], Findings(), sizes=sizes, paths=paths)
        source = cls(records, scenes.classes, name=scenes.name, split=scenes.split, labelled=("category",))
        source.warnings = list(scenes.warnings)
        source._scenes, source._owners, source._windows = scenes, owners, windows
        source.annotation_ids = table.annotation_ids[chosen]
        return source

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        window = record.image_id - 1
        scene = self._scenes.records[int(self._owners[window])]
        x1, y1, x2, y2 = self._windows[window].tolist()
        return np.ascontiguousarray(self._scenes.read_image(scene, on_error=on_error)[y1:y2, x1:x2])


def street_identities(scenes: Dataset, annotations: Path) -> Dataset:
    """The things of generated scenes, each labelled by who it is (``identity`` of its annotation), not by its class.

    Args:
        scenes: opened from `annotations`.
        annotations: the COCO file; those of a split name identities that no other split has.

    Raises:
        DataError: the file names no identities.
    """
    crops = CropDataset.of(scenes)
    content = json_of(annotations)
    owners = {row["id"]: row.get("identity") for row in content["annotations"]}
    who = [owners.get(number) for number in crops.annotation_ids.tolist()]
    if any(number is None for number in who):
        raise DataError(
            f"{annotations}: its annotations have no key identity: only generated scenes can say who is who"
        )
    numbers, labels = np.unique(np.array(who, np.int64), return_inverse=True)
    crops.records = replace(crops.records, categories=labels.astype(np.int64))
    crops.classes = ClassTable(tuple(f"identity {number}" for number in numbers.tolist()), tuple(numbers.tolist()))
    return crops
