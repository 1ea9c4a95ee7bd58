"""Sets that label whole images: class folders, and CSV lists.

Folders: ``train/CLASS/….jpg`` beside ``val/CLASS/…`` (``valid``, ``validation``) and ``test/CLASS/…``. Without a folder
``train`` the classes lie directly under ``data.root``, and ``data.val_fraction`` holds out a part. The classes are those of
train, by the alphabet, in every split; images may lie deeper inside a class.

Lists: ``train.csv``, ``val.csv`` and ``test.csv`` under ``data.root``, a line ``path,label`` for each image. Paths count from
the list's folder (or from ``data.SPLIT_images``); those of another machine, and names without the image's suffix, are looked
for as :mod:`effdet.data.listing` says. A first line ``path,label`` (or ``image``, ``file``, ``filename``; ``class``) is a
header, under which the columns may stand in any order; commas, semicolons and tabs separate. Classes are ``data.classes``,
else the labels of train: numbers in their order, words by the alphabet.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from effdet.data.boxes import category_table
from effdet.data.checks import DataError, Findings, check_names
from effdet.data.listing import ImageFinder, images_below, relative_names, text_of
from effdet.data.records import Dataset
from effdet.data.spec import SPLIT_DIRS, DataSpec, has_split_dirs
from effdet.files import is_hidden, is_link_loop, text_lines
from heads.structures import ClassTable


def open_folder(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of an image folder that `spec` names."""
    directory = _split_dir(spec, spec.file_split)
    own = _class_dirs(directory)
    names = list(spec.classes) if spec.classes else sorted(_train_classes(spec, own))
    check_names(names, "data.classes", findings)
    known = {name: label for label, name in enumerate(names)}
    for name in sorted(set(own) - set(known)):
        findings.error("unknown-category", directory / name, f"no class of train: there are {_some(names)}")
    paths = [(path, known[name]) for name in own if name in known for path in images_below(directory / name, findings)]
    for name in sorted(set(own) & set(known)):
        if not any(label == known[name] for _, label in paths):
            findings.warning("empty-class", directory / name, "holds no image")
    images, labels = relative_names([path for path, _ in paths], directory), [label for _, label in paths]
    table = category_table(directory, images, labels, findings)
    return Dataset(table, ClassTable.of(names, first_id=0), name=spec.name, split=spec.split, labelled=("category",))


def _split_dir(spec: DataSpec, split: str) -> Path:
    if (passed := spec.named_dir("images", split)) is not None:
        return passed
    root = spec.need_root()
    for name in SPLIT_DIRS[split]:
        if (root / name).is_dir():
            return root / name
    if split == "train" and not has_split_dirs([root]):
        if not any(path.is_dir() and not is_hidden(path.name) for path in root.iterdir()):
            raise spec.lacks_split("folder train/ with a folder for each class", images="DIR")
        return root
    other = replace(spec, split=split, val_fraction=None)
    raise other.lacks_split(f"folder {split}/ with a folder for each class", images="DIR")


def _train_classes(spec: DataSpec, own: Sequence[str]) -> Sequence[str]:
    """The classes of train; the split's own where only that split is there, or where its identities are meant to be new."""
    if spec.names_own_classes:
        return own
    try:
        return _class_dirs(_split_dir(replace(spec, val_fraction=None), "train"))
    except DataError:
        return own


def _class_dirs(directory: Path) -> list[str]:
    names = sorted(
        path.name
        for path in directory.iterdir()
        if path.is_dir() and not is_hidden(path.name) and not is_link_loop(path)
    )
    if not names:
        raise DataError(f"{directory}: must hold a folder for each class, and holds none")
    return names


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


PATH_COLUMNS = (
    *("path", "image", "file", "filename", "file_name", "image_path", "filepath", "file_path", "img", "img_path"),
    *("image_name", "img_name", "image_id", "id", "name"),
)
LABEL_COLUMNS = ("label", "class", "category", "class_name", "label_name", "labels", "target", "class_id")
_FLOAT = re.compile(r"[0-9]+\.0+")


@dataclass(frozen=True)
class Row:
    """One image of a list."""

    line: int
    path: str
    label: str


def open_csv(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of a CSV set that `spec` names."""
    file = _list_file(spec, spec.file_split)
    if file is None:
        raise spec.lacks_split(f"{spec.file_split}.csv", annotations="FILE")
    rows = _read(file, findings)
    names = list(spec.classes or ())
    if not names:
        labels = {row.label for row in _train_rows(spec, rows)}
        names = sorted(labels, key=int if all(label.isdecimal() for label in labels) else None)
    check_names(names, "data.classes", findings)
    known = {name: label for label, name in enumerate(names)}
    directory = spec.images or file.parent
    find_image = ImageFinder(spec.root or directory, [directory])
    seen: dict[Path, int] = {}
    kept = []
    for row in rows:
        if row.label not in known:
            findings.error("unknown-category", file, f"{row.label!r} is not a class of train", item=f"line {row.line}")
        elif (image := Path(os.path.normpath(find_image(row.path)))) in seen:
            text = f"{row.path} stands in line {seen[image]} already: left out"
            findings.warning("duplicate-images", file, text, item=f"line {row.line}")
        else:
            seen[image] = row.line
            kept.append(known[row.label])
    table = category_table(directory, relative_names(seen, directory), kept, findings)
    return Dataset(table, ClassTable.of(names, first_id=0), name=spec.name, split=spec.split, labelled=("category",))


def _list_file(spec: DataSpec, split: str) -> Path | None:
    if (passed := spec.named_file(split)) is not None:
        return passed
    if spec.root is None and split != spec.file_split:
        return None
    root = spec.need_root()
    names = {"val": ("val.csv", "valid.csv", "validation.csv")}.get(split, (f"{split}.csv",))
    return next((root / name for name in names if (root / name).is_file()), None)


def _train_rows(spec: DataSpec, rows: list[Row]) -> list[Row]:
    """The rows of train; the split's own where there is no list of train, or where its identities are meant to be new."""
    if spec.names_own_classes:
        return rows
    file = _list_file(spec, "train")
    return rows if file is None else _read(file, Findings())


def _read(file: Path, findings: Findings) -> list[Row]:
    """The valid lines of a list; the others are noted."""
    text = text_of(file)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(text_lines(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{file}: not a CSV file ({error})") from None
    path_at, label_at, start = _columns(lines[0] if lines else [])
    rows = []
    for number, cells in enumerate(lines[start:], start=start + 1):
        if not any(cell.strip() for cell in cells):
            continue
        item = f"line {number}"
        if len(cells) <= max(path_at, label_at) or (start == 0 and len(cells) != 2):
            findings.error("bad-annotation", file, f"{len(cells)} cells where path and label are wanted", item=item)
            continue
        path, label = cells[path_at].strip().replace("\\", "/"), plain_label(cells[label_at])
        if not path or not label or "\0" in path:
            findings.error("bad-annotation", file, "path or label is empty or unreadable", item=item)
            continue
        rows.append(Row(number, path, label))
    return rows


def plain_label(cell: str) -> str:
    """A label as it is compared: ``1.0``, as tools write a column of numbers with gaps, is ``1``."""
    text = cell.strip()
    return text.rpartition(".")[0] if _FLOAT.fullmatch(text) else text


def _columns(header: list[str]) -> tuple[int, int, int]:
    """(column of the path, of the label, the first line with an image)."""
    names = [cell.strip().lower() for cell in header]
    path = next((names.index(name) for name in PATH_COLUMNS if name in names), None)
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    return (0, 1, 0) if path is None or label is None else (path, label, 1)
