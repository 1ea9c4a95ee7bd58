"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the binary form that their owner publishes.

``cifar-10-batches-bin`` / ``cifar-100-binary``: records of a label byte (CIFAR-100: coarse, then fine), then 3,072 bytes, the
red, the green and the blue plane of a 32 × 32 image. https://www.cs.toronto.edu/~kriz/cifar.html. The pickled form of
the same images is not read: a pickle runs code.

There is no val split: ``data.val_fraction`` holds out a part of train, by the image's place in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from effdet.data.checks import DataError, Findings, MissingSplit
from effdet.data.listing import bytes_of, lines_of
from effdet.data.own_split import ArrayDataset
from effdet.data.records import Dataset
from effdet.data.spec import DataSpec
from heads.structures import ClassTable

SIDE, PIXELS = 32, 3 * 32 * 32
COARSE, FINE = "coarse", "fine"


@dataclass(frozen=True)
class Form:
    """The published form of one set."""

    directories: tuple[str, ...]
    """Its name, and others that it goes by."""
    files: dict[str, tuple[str, ...]]
    """Split -> its files, in order."""
    labels: tuple[str, ...]
    """What each byte before the pixels of a record says."""
    names: dict[str, str]
    """Kind of label -> file of the class names."""
    pickled: tuple[str, ...]
    """Folders of the form that is not read."""


CIFAR10 = Form(
    ("cifar-10-batches-bin",),
    {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    (FINE,),
    {FINE: "batches.meta.txt"},
    ("cifar-10-batches-py",),
)
CIFAR100 = Form(
    ("cifar-100-binary", "cifar-100-batches-bin"),
    {"train": ("train.bin",), "test": ("test.bin",)},
    (COARSE, FINE),
    {FINE: "fine_label_names.txt", COARSE: "coarse_label_names.txt"},
    ("cifar-100-python", "cifar-100-batches-py"),
)


def open_cifar10(spec: DataSpec, findings: Findings) -> Dataset:
    """CIFAR-10: ``data.root`` is ``cifar-10-batches-bin``, or the folder that holds it."""
    return _open(spec, CIFAR10, FINE, findings)


def open_cifar100(spec: DataSpec, findings: Findings) -> Dataset:
    """CIFAR-100 with its 100 fine classes, or the 20 coarse ones with ``data.level=coarse``."""
    return _open(spec, CIFAR100, spec.level, findings)


def _open(spec: DataSpec, form: Form, level: str, findings: Findings) -> Dataset:
    directory = _found(spec, form)
    split = spec.file_split
    if split not in form.files:
        raise MissingSplit(
            f"{spec.title}: this set has only train and test; hold out a part of train with data.val_fraction=0.1"
        )
    names = lines_of(directory / form.names[level])
    if not names or len(set(names)) < len(names):
        raise DataError(f"{directory / form.names[level]}: must list class names, each once")
    classes = ClassTable.of(names, first_id=0)
    pixels, labels = zip(*(_read(directory / name, form, level) for name in form.files[split]), strict=True)
    rows, numbers = np.concatenate(pixels), np.concatenate(labels)
    for row in np.flatnonzero((numbers < 0) | (numbers >= len(classes)))[:100].tolist():
        text = f"class {numbers[row]} must be a whole number from 0 to {len(classes) - 1}"
        findings.error("unknown-category", directory, text, item=f"{split} image {row}")
    images = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)  # (P, 32, 32, 3), a view of planes
    files = [f"{split}/{row:05}" for row in range(len(images))]
    return ArrayDataset(images, numbers, classes, names=files, name=spec.name, split=spec.split)


def _found(spec: DataSpec, form: Form) -> Path:
    """The folder of the files, below ``data.root`` or that itself."""
    root = spec.need_root()
    for directory in (root, *(root / name for name in form.directories)):
        if all((directory / name).is_file() for names in form.files.values() for name in names):
            return directory
    name = form.directories[0]
    for pickled in form.pickled:
        if root.name == pickled or (root / pickled).is_dir():
            raise DataError(
                f"{spec.title}: data.root={root}: {pickled} holds pickles, which are not read; take the owner's binary "
                f"version ({name}) from https://www.cs.toronto.edu/~kriz/cifar.html"
            )
    raise DataError(f"{spec.title}: data.root={root} must be or hold {name}/ ({', '.join(form.files['test'])}, …)")


def _read(path: Path, form: Form, level: str) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3072) uint8 and (P,) int64 of one file of records."""
    length = len(form.labels) + PIXELS
    content = np.frombuffer(bytes_of(path), np.uint8)
    if len(content) == 0 or len(content) % length:
        raise DataError(f"{path}: {len(content):,} bytes are no whole number of records of {length:,}: cut off?")
    records = content.reshape(-1, length)
    return records[:, len(form.labels) :], records[:, form.labels.index(level)].astype(np.int64)
