"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the two forms that their owner publishes.

``cifar-N-batches-bin`` / ``cifar-100-binary``: records of a label byte (CIFAR-100: coarse, then fine), then 3,072 bytes, the
red, the green and the blue plane of a 32 × 32 picture. ``cifar-N-batches-py`` / ``cifar-100-python``: pickled dictionaries with
the same rows under ``data`` (:mod:`effdet.data.safe_pickle` reads them). https://www.cs.toronto.edu/~kriz/cifar.html

There is no val split: ``data.val_fraction`` holds out a part of train, by the picture's place in it, so that both forms split
alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from effdet.data.array_source import ArraySource
from effdet.data.checks import DataError, Findings, MissingSplit
from effdet.data.listing import lines_of
from effdet.data.records import Source
from effdet.data.safe_pickle import byte_array, load
from effdet.data.spec import DataSpec
from heads.structures import ClassTable

SIDE, PIXELS = 32, 3 * 32 * 32
COARSE, FINE = "coarse", "fine"


@dataclass(frozen=True)
class Form:
    """One published form of one set."""

    folder: str
    files: dict[str, tuple[str, ...]]
    """Split -> its files, in order."""
    label_bytes: tuple[str, ...]
    """What stands before the pixels of a record, or the keys of the labels in a pickle."""
    names: dict[str, tuple[str, str]]
    """Kind of label -> (file of the class names, key in it; empty for a text file)."""
    pickled: bool


def _ten(folder: str, suffix: str, names: tuple[str, str], *, pickled: bool, key: str) -> Form:
    train = tuple(f"data_batch_{number}{suffix}" for number in range(1, 6))
    files = {"train": train, "test": (f"test_batch{suffix}",)}
    return Form(folder, files, (key,), {FINE: names}, pickled)


CIFAR10 = (
    _ten("cifar-10-batches-bin", ".bin", ("batches.meta.txt", ""), pickled=False, key=FINE),
    _ten("cifar-10-batches-py", "", ("batches.meta", "label_names"), pickled=True, key="labels"),
)
CIFAR100 = (
    Form(
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        (COARSE, FINE),
        {FINE: ("fine_label_names.txt", ""), COARSE: ("coarse_label_names.txt", "")},
        pickled=False,
    ),
    Form(
        "cifar-100-python",
        {"train": ("train",), "test": ("test",)},
        ("coarse_labels", "fine_labels"),
        {FINE: ("meta", "fine_label_names"), COARSE: ("meta", "coarse_label_names")},
        pickled=True,
    ),
)
ALIASES = {"cifar-100-batches-bin": "cifar-100-binary", "cifar-100-batches-py": "cifar-100-python"}


def open_cifar10(spec: DataSpec, findings: Findings) -> Source:
    """CIFAR-10: ``data.root`` is ``cifar-10-batches-bin``, ``-py``, or the folder that holds one of them."""
    return _open(spec, CIFAR10, FINE, findings)


def open_cifar100(spec: DataSpec, findings: Findings) -> Source:
    """CIFAR-100 with its 100 fine classes, or the 20 coarse ones with ``data.level=coarse``."""
    return _open(spec, CIFAR100, spec.level, findings)


def _open(spec: DataSpec, forms: Sequence[Form], level: str, findings: Findings) -> Source:
    form, folder = _found(spec, forms)
    split = spec.file_split
    if split not in form.files:
        raise MissingSplit(
            f"{spec.title}: this set has train and test alone; hold out a part of train with data.val_fraction=0.1"
        )
    classes = ClassTable.of(_class_names(folder, form, level), first_id=0)
    key = next(key for key in form.label_bytes if len(form.label_bytes) == 1 or key.startswith(level))
    read = _read_pickle if form.pickled else _read_binary
    pixels, labels = zip(*(read(folder / name, form, key) for name in form.files[split]), strict=True)
    rows, numbers = np.concatenate(pixels), np.concatenate(labels)
    for row in np.flatnonzero((numbers < 0) | (numbers >= len(classes)))[:100].tolist():
        text = f"class {numbers[row]} must be a whole number from 0 to {len(classes) - 1}"
        findings.error("unknown-category", folder, text, item=f"{split} picture {row}")
    pictures = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)  # (P, 32, 32, 3), a view of planes
    names = [f"{split}/{row:05}" for row in range(len(pictures))]
    return ArraySource(pictures, numbers, classes, names=names, name=spec.name, split=spec.split)


def _found(spec: DataSpec, forms: Sequence[Form]) -> tuple[Form, Path]:
    """The form that lies under ``data.root``; binary before pickled where both do."""
    root = spec.need_root()
    for form in forms:
        folders = [form.folder, *(alias for alias, name in ALIASES.items() if name == form.folder)]
        for folder in (root, *(root / name for name in folders)):
            if all((folder / name).is_file() for names in form.files.values() for name in names):
                return form, folder
    wanted = " or ".join(f"{form.folder}/ ({', '.join(form.files['test'])}, …)" for form in forms)
    raise DataError(f"{spec.title}: data.root={root} must be or hold {wanted}")


def _class_names(folder: Path, form: Form, level: str) -> list[str]:
    name, key = form.names[level]
    path = folder / name
    if key:
        names = load(_bytes(path), where=str(path)).get(key)
        names = [entry.decode("latin1") if isinstance(entry, bytes) else entry for entry in _listed(names, path)]
    else:
        names = lines_of(path)
    if not names or not all(isinstance(entry, str) for entry in names) or len(set(names)) < len(names):
        raise DataError(f"{path}: must list class names, each once")
    return names


def _read_binary(path: Path, form: Form, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3072) uint8 and (P,) int64 of one file of records."""
    length = len(form.label_bytes) + PIXELS
    content = np.frombuffer(_bytes(path), np.uint8)
    if len(content) == 0 or len(content) % length:
        raise DataError(f"{path}: {len(content):,} bytes are no whole number of records of {length:,}: cut off?")
    records = content.reshape(-1, length)
    return records[:, len(form.label_bytes) :], records[:, form.label_bytes.index(key)].astype(np.int64)


def _read_pickle(path: Path, form: Form, key: str) -> tuple[np.ndarray, np.ndarray]:
    batch = load(_bytes(path), where=str(path))
    labels = _listed(batch.get(key), path)
    if not labels or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise DataError(f"{path}: {key} must be a list of class numbers")
    pixels = byte_array(batch.get("data"), (len(labels), PIXELS), where=str(path))
    return pixels, np.array(labels, np.int64)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", file=path) from None


def _listed(value: object, path: Path) -> list:
    if not isinstance(value, list):
        raise DataError(f"{path}: holds a {type(value).__name__} where this set has a list")
    return value
