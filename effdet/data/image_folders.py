"""Image folders: ``train/CLASS/….jpg`` beside ``val/CLASS/…`` (``valid``, ``validation``) and ``test/CLASS/…``.

Without a folder ``train`` the classes lie directly under ``data.root``, and ``data.val_fraction`` holds out a part. The
classes are those of train, by the alphabet, in every split; images may lie deeper inside a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from effdet.data.boxes import category_table
from effdet.data.checks import DataError, Findings, check_names
from effdet.data.listing import images_below, relative_names
from effdet.data.records import Dataset
from effdet.data.spec import SPLIT_DIRS, DataSpec, has_split_dirs
from effdet.files import is_hidden, leads_back
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
    raise replace(spec, split=split, val_fraction=None).lacks_split(
        f"folder {split}/ with a folder for each class", images="DIR"
    )


def _train_classes(spec: DataSpec, own: Sequence[str]) -> Sequence[str]:
    """The classes of train; the split's own where only that split is there, or where its identities are meant to be new."""
    if spec.file_split == "train" or "identity" in (spec.requested or ()):
        return own
    try:
        return _class_dirs(_split_dir(replace(spec, val_fraction=None), "train"))
    except DataError:
        return own


def _class_dirs(directory: Path) -> list[str]:
    names = sorted(
        path.name for path in directory.iterdir() if path.is_dir() and not is_hidden(path.name) and not leads_back(path)
    )
    if not names:
        raise DataError(f"{directory}: must hold a folder for each class, and holds none")
    return names


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")
