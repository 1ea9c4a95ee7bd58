"""Image folders: ``train/CLASS/….jpg`` beside ``val/CLASS/…`` (``valid``, ``validation``) and ``test/CLASS/…``.

Without a folder ``train`` the classes lie directly under ``data.root``, and ``data.val_fraction`` holds out a part. The
classes are those of train, by the alphabet, in every split; pictures may lie deeper inside a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from effdet.data.array_source import category_table
from effdet.data.boxes import check_pictures
from effdet.data.checks import DataError, Findings, check_names
from effdet.data.listing import images_below
from effdet.data.records import RecordTable, Source
from effdet.data.spec import SPLIT_FOLDERS, DataSpec
from effdet.files import is_hidden, leads_back
from heads.structures import ClassTable


def open_folder(spec: DataSpec, findings: Findings) -> Source:
    """The split of an image folder that `spec` names."""
    folder = _split_folder(spec, spec.file_split)
    own = _class_folders(folder)
    names = list(spec.classes) if spec.classes else sorted(_train_classes(spec, own))
    check_names(names, "data.classes", findings)
    known = {name: label for label, name in enumerate(names)}
    for name in sorted(set(own) - set(known)):
        findings.error("unknown-category", folder / name, f"no class of train: there are {_some(names)}")
    paths = [(path, known[name]) for name in own if name in known for path in images_below(folder / name, findings)]
    for name in sorted(set(own) & set(known)):
        if not any(label == known[name] for _, label in paths):
            findings.warning("empty-class", folder / name, "holds no picture")
    table = picture_table(
        folder, [path.relative_to(folder).as_posix() for path, _ in paths], [label for _, label in paths], findings
    )
    return Source(table, ClassTable.of(names, first_id=0), name=spec.name, split=spec.split, labelled=("category",))


def picture_table(root: Path, names: Sequence[str], labels: Sequence[int], findings: Findings) -> RecordTable:
    """Records of the pictures `names` under `root` that can be read, with their classes.

    Args:
        root: folder to which `names` count.
        names: (P,) paths with forward slashes.
        labels: (P,) in 0…K-1.
        findings: takes what is wrong with a picture.
    """
    sizes = np.zeros((len(names), 2), np.int64)
    usable, sizes = check_pictures([root / name for name in names], sizes, findings=findings)
    table = category_table(list(names), np.array(labels, np.int64), sizes, root=root)
    return table if usable.all() else table.subset(np.flatnonzero(usable))


def _split_folder(spec: DataSpec, split: str) -> Path:
    given = getattr(spec, f"{split}_images")
    if given is not None:
        if not given.is_dir():
            raise DataError(f"{spec.title}: {spec.keys}{split}_images={given} is not a folder")
        return given
    root = spec.need_root()
    for name in SPLIT_FOLDERS[split]:
        if (root / name).is_dir():
            return root / name
    if split == "train" and not any((root / name).is_dir() for names in SPLIT_FOLDERS.values() for name in names):
        if not any(path.is_dir() and not is_hidden(path.name) for path in root.iterdir()):
            raise spec.lacks_split("folder train/ with a folder for each class", images="DIR")
        return root
    raise replace(spec, split=split, val_fraction=None).lacks_split(
        f"folder {split}/ with a folder for each class", images="DIR"
    )


def _train_classes(spec: DataSpec, own: Sequence[str]) -> Sequence[str]:
    """The classes of train; the split's own where only that split is there, or where its identities are meant to be new."""
    if spec.file_split == "train" or "identity" in (spec.wanted or ()):
        return own
    try:
        return _class_folders(_split_folder(replace(spec, val_fraction=None), "train"))
    except DataError:
        return own


def _class_folders(folder: Path) -> list[str]:
    names = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name) and not leads_back(path)
    )
    if not names:
        raise DataError(f"{folder}: must hold a folder for each class, and holds none")
    return names


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")
