"""A source whose masks are files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.checks import DataError
from effdet.data.mask_files import UNKNOWN, MaskValues, read_instances, read_values
from effdet.data.records import Record, Source
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
