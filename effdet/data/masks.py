"""Any pair of folders of pictures and masks: ``data=masks data.root=DIR data.classes=[road,car]``.

Below the root lie ``images/{train,val,test}`` and ``masks/{train,val,test}`` (also ``labels``, ``annotations``), or
``{train,val,test}/images`` and ``{train,val,test}/masks``; other folders are named with ``data.train_images`` and
``data.train_annotations``. A mask has its picture's name, but for the suffix and ``data.mask_suffix``.
"""

from __future__ import annotations

from pathlib import Path

from effdet.data.checks import DataError, Findings
from effdet.data.listing import lines_of
from effdet.data.mask_files import MaskValues, values_of
from effdet.data.mask_table import Pictures, build_table
from effdet.data.masked import NO_BOXES, MaskedSource
from effdet.data.pairs import paired
from effdet.data.records import Source
from effdet.data.spec import DataSpec
from heads.structures import ClassTable

PICTURE_FOLDERS = ("images", "imgs", "pictures")
MASK_FOLDERS = ("masks", "labels", "annotations")
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def open_masks(spec: DataSpec, findings: Findings) -> Source:
    """The split of a pair of folders that `spec` names."""
    pictures, masks = _folders(spec)
    names, numbers = values_of(_class_names(spec), spec.values)
    ids = {label: value for value, label in reversed(numbers.items())}
    table = ClassTable(tuple(names), tuple(ids[label] for label in range(len(names))))
    if both := sorted(set(numbers) & set(spec.ignored)):
        if spec.values is not None or tuple(spec.ignored) != (255,):
            raise DataError(f"{spec.title}: data.ignored and data.values both name {both[0]}: a value has one meaning")
    values = MaskValues.of(numbers, ignored=spec.ignored, void=spec.ignored[0] if spec.ignored else 255)
    return open_pairs(spec, pictures, masks, values, table, findings)


def open_pairs(
    spec: DataSpec, pictures: Path, masks: Path, values: MaskValues, classes: ClassTable, findings: Findings
) -> Source:
    """A source of pictures with the masks of the same names."""
    names, files = paired(pictures, masks, findings, mask_suffix=spec.mask_suffix)
    listed = Pictures(pictures, names, files)
    table = build_table(listed, values, len(classes), findings)
    return MaskedSource(
        table,
        NO_BOXES,
        name=spec.name,
        split=spec.split,
        labelled=("semantic",),
        semantic_classes=classes,
        values=values,
    )


def _folders(spec: DataSpec) -> tuple[Path, Path]:
    """The folders of pictures and masks of the split."""
    if spec.images is not None and spec.annotations is not None:
        folders = {"images": spec.images, "annotations": spec.annotations}
        for part, folder in folders.items():
            if not folder.is_dir():
                raise DataError(f"{spec.title}: data.{spec.file_split}_{part}={folder} is not a folder")
        return spec.images, spec.annotations
    root = spec.need_root()
    for split in SPLIT_FOLDERS[spec.file_split]:
        for pictures in PICTURE_FOLDERS:
            for masks in MASK_FOLDERS:
                for pair in (
                    (root / pictures / split, root / masks / split),
                    (root / split / pictures, root / split / masks),
                ):
                    if pair[0].is_dir() and pair[1].is_dir():
                        return spec.images or pair[0], spec.annotations or pair[1]
    if spec.val_fraction is not None:
        for masks in MASK_FOLDERS:
            if (root / "images").is_dir() and (root / masks).is_dir():
                return root / "images", root / masks
    raise spec.lacks_split(f"images/{spec.file_split} beside masks/{spec.file_split}")


def _class_names(spec: DataSpec) -> list[str]:
    if spec.classes:
        return list(spec.classes)
    listing = None if spec.root is None else spec.root / "classes.txt"
    if listing is not None and listing.is_file():
        return lines_of(listing)
    raise DataError(f"{spec.title}: no class names: give data.classes=[…] in the order of the ids, or classes.txt")
