"""Mask files: one value a pixel, and what the values mean.

A mask is an 8-bit image with one channel, grey or with a palette (whose colours mean nothing). Colours and 16 bits are
refused: what they mean is not in the file.

:class:`MaskDataset` is a split whose masks are such files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from effdet.data.checks import DataError
from effdet.data.images import DECODE_ERRORS, decode_reason
from effdet.data.records import IGNORED, Dataset, Record
from heads.structures import ClassTable

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".pgm")
"""File names that are taken for masks; JPEG and GIF are not among them: their writers change
values."""
MOST_CLASSES = 254
UNKNOWN = 254
"""In :attr:`MaskValues.table`: a value that the set does not list."""
_WIDENED = {"L;2": 85, "L;4": 17}
"""Pillow multiplies the values of grey PNG files with fewer than 8 bits, so that their brightest is 255."""


@dataclass(frozen=True, eq=False)
class MaskValues:
    """What the values of a set's masks mean."""

    table: np.ndarray
    """(256,) uint8: value in the file -> class 0…K-1, ``IGNORED``, or ``UNKNOWN``."""
    void: int
    """The value that a written mask has where it says none of the classes."""

    @classmethod
    def of(cls, classes: Mapping[int, int], *, ignored: Iterable[int] = (IGNORED,), void: int = IGNORED) -> MaskValues:
        """
        Args:
            classes: value in the file -> class.
            ignored: values that are neither trained on nor counted.
            void: see the attribute.
        """
        table = np.full(256, UNKNOWN, np.uint8)
        for value in ignored:
            table[_byte(value)] = IGNORED
        for value, label in classes.items():
            if not 0 <= label < MOST_CLASSES:
                raise DataError(f"class {label} of mask value {value} must lie within 0…{MOST_CLASSES - 1}")
            table[_byte(value)] = label
        return cls(table, void)

    def unknown(self, counts: np.ndarray) -> list[int]:
        """Values that occur in a mask with (256,) `counts` of pixels, and that the set does not list."""
        return np.flatnonzero((counts > 0) & (self.table == UNKNOWN)).tolist()

    def class_pixels(self, counts: np.ndarray, classes: int) -> np.ndarray:
        """(P, 256) pixels by value -> (P, K) pixels by class."""
        pixels = np.zeros((len(counts), 256), np.int64)
        np.add.at(pixels.T, self.table, counts.T)
        return pixels[:, :classes]


def _byte(value: int) -> int:
    if not 0 <= value <= 255:
        raise DataError(f"mask value {value} must lie within 0…255: a mask has 8 bits a pixel")
    return value


def read_values(path: Path | str) -> np.ndarray:
    """(h, w) uint8 values of a mask as its file holds them; a palette is left aside.

    Raises:
        DataError: no such file, not decodable, or not one channel of 8 bits.
    """
    with _opened(path, "mask") as image:
        raw = image.tile[0][3] if image.tile else None
        factor = _WIDENED.get(raw) if isinstance(raw, str) else None
        if image.mode not in ("1", "L", "P"):
            raise DataError(f"{path}: {_wrong_mode(image.mode)}")
        values = np.array(image).astype(np.uint8, copy=False)
        return values if factor is None else values // np.uint8(factor)


@contextmanager
def _opened(path: Path | str, what: str) -> Iterator[ImageFile]:
    """An image file; whatever goes wrong in the block is a :class:`DataError`."""
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what}") from None
    except DECODE_ERRORS as error:
        article = "an" if what[0] in "aeiou" else "a"
        raise DataError(f"{path}: not {article} {what} that can be read ({decode_reason(error)})") from None


def _wrong_mode(mode: str) -> str:
    if mode.startswith(("I", "F")):
        return f"16 bits a pixel or more (mode {mode}) where class ids of 8 bits are expected"
    return f"colours (mode {mode}) where class ids are expected: write it with one channel, an id a pixel"


def read_instances(path: Path | str) -> np.ndarray:
    """(h, w) int32 values of an instance map of 8 or 16 bits.

    Raises:
        DataError: no such file, not decodable, or more than one channel.
    """
    with _opened(path, "instance map") as image:
        if image.mode not in ("L", "P") and not image.mode.startswith("I"):
            raise DataError(f"{path}: colours (mode {image.mode}) where instance ids are expected")
        return np.array(image).astype(np.int32)


def values_of(classes: Sequence[str], values: Sequence[int] | None) -> tuple[list[str], dict[int, int]]:
    """Class names, and value -> class, of a list of names with the value of each.

    Names that repeat share a class: ``[road, road, car]`` with ``[7, 8, 26]`` makes two classes of three values.

    Args:
        classes: a name for each value.
        values: None counts 0, 1, 2, …
    """
    numbers = list(range(len(classes))) if values is None else list(values)
    if len(numbers) != len(classes):
        raise DataError(
            f"data.values has {len(numbers)} numbers for the {len(classes)} names of data.classes: one each"
        )
    if len(set(numbers)) != len(numbers):
        twice = next(value for value in numbers if numbers.count(value) > 1)
        raise DataError(f"data.values names {twice} twice: a value has one class")
    names = list(dict.fromkeys(classes))
    return names, {value: names.index(name) for value, name in zip(numbers, classes, strict=True)}


NO_BOXES = ClassTable((), ())
"""The box classes of a set that labels only masks."""


class MaskDataset(Dataset):
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
        labels = self.values.table[of_size(read_values(record.mask), record.mask, record)]
        # Masks were checked when the set was opened; a file may have changed since.
        if (labels == UNKNOWN).any():
            raise DataError(f"{record.mask}: holds an id that the set does not list")
        return labels

    def read_instances(self, record: Record) -> np.ndarray | None:
        if record.instances is None or self.instance_values is None:
            return None
        return self.instance_values(of_size(read_instances(record.instances), record.instances, record))

    def masked_objects(self) -> np.ndarray | None:
        table = self.records
        if self.instance_values is None or table.instances is None or "boxes" not in self.labelled:
            return None
        return np.repeat(table.instances != b"", np.diff(table.starts)) & ~table.crowd

    def read_objects(self, index: int, rows: np.ndarray) -> list[np.ndarray]:
        """Each is the object of the instance map that the box surrounds."""
        record = self.records[index]
        numbers = self.read_instances(record)
        assert numbers is not None and self.semantic_classes is not None
        names, found = self.semantic_classes.names, []
        for row in rows.tolist():
            box, name = record.boxes[row].round().astype(int).tolist(), self.classes.names[int(record.labels[row])]
            inside = np.unique(numbers[box[1] : box[3], box[0] : box[2]])
            own = (numbers == number for number in inside.tolist() if number and names[number // 1000 - 1] == name)
            mask = next((mask for mask in own if _bounds(mask) == box), None)
            if mask is None:
                raise DataError(f"{record.instances}: no {name} of this instance map has the box {box}")
            found.append(mask)
        return found


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


def _bounds(mask: np.ndarray) -> list[int]:
    """x1, y1, x2, y2 around the True pixels."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1]


def of_size(pixels: np.ndarray, path: Path, record: Record) -> np.ndarray:
    """The `pixels` of the file at `path`, which must have the size of the record's image."""
    if pixels.shape != record.size:
        shown, requested = f"{pixels.shape[1]}×{pixels.shape[0]}", f"{record.width}×{record.height}"
        raise DataError(f"{path}: is {shown} (width × height), its image {record.file_name} is {requested}")
    return pixels
