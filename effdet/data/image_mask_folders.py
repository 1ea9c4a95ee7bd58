"""Any pair of folders of pictures and masks: ``data=masks data.root=DIR data.classes=[road,car]``.

Below the root lie ``images/{train,val,test}`` and ``masks/{train,val,test}`` (also ``labels``, ``annotations``), or
``{train,val,test}/images`` and ``{train,val,test}/masks``; other folders are named with ``data.train_images`` and
``data.train_annotations``. A mask has its picture's name, but for the suffix and ``data.mask_suffix``.

CamVid is one in SegNet's split: ``{train,val,test}/`` beside ``{train,val,test}annot/``, 480×360, 11 classes and void.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from effdet.data.checks import DataError, Findings
from effdet.data.listing import files_below, images_below, lines_of
from effdet.data.mask_index import Pictures, build_table
from effdet.data.mask_io import NO_BOXES, MaskedSource, MaskValues, values_of
from effdet.data.mask_io import SUFFIXES as MASK_SUFFIXES
from effdet.data.records import Source
from effdet.data.spec import SPLIT_FOLDERS, DataSpec
from heads.structures import ClassTable

PICTURE_FOLDERS = ("images", "imgs", "pictures")
MASK_FOLDERS = ("masks", "labels", "annotations")


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


def folders(spec: DataSpec, images: str, masks: str) -> tuple[Path, Path]:
    """The folders of images and masks of a split: those that the user names, else those of these names in ``data.root``.

    Raises:
        MissingSplit: a folder in the root is not there; it says with which key to name that one.
    """
    given = {"images": spec.images, "annotations": spec.annotations}
    for part, folder in given.items():
        if folder is not None and not folder.is_dir():
            raise DataError(f"{spec.title}: {spec.key(part)}={folder} is not a folder")
    root = spec.need_root() if None in given.values() else Path()
    own = {part: given[part] or root / name for part, name in (("images", images), ("annotations", masks))}
    if lacking := {part: "DIR" for part, folder in own.items() if not folder.is_dir()}:
        names = " and ".join(own[part].relative_to(root).as_posix() for part in lacking)
        raise spec.lacks_split(f"folder{'s' if len(lacking) > 1 else ''} {names}", **lacking)
    return own["images"], own["annotations"]


def _folders(spec: DataSpec) -> tuple[Path, Path]:
    """The folders of pictures and masks of the split."""
    if spec.images is not None and spec.annotations is not None:
        return folders(spec, "", "")
    root = spec.need_root()
    for split in SPLIT_FOLDERS[spec.file_split]:
        for pictures in PICTURE_FOLDERS:
            for masks in MASK_FOLDERS:
                for pair in (
                    (root / pictures / split, root / masks / split),
                    (root / split / pictures, root / split / masks),
                ):
                    if (spec.images or pair[0]).is_dir() and (spec.annotations or pair[1]).is_dir():
                        return spec.images or pair[0], spec.annotations or pair[1]
    names = [name for split in SPLIT_FOLDERS.values() for name in split]
    divided = any(
        (root / part / name).is_dir() or (root / name / part).is_dir() for part in PICTURE_FOLDERS for name in names
    )
    if spec.file_split == "train" and (spec.val_fraction is not None or not divided):
        for pictures in PICTURE_FOLDERS:
            for masks in MASK_FOLDERS:
                pair = spec.images or root / pictures, spec.annotations or root / masks
                if pair[0].is_dir() and pair[1].is_dir():
                    return pair
    return folders(spec, f"images/{spec.file_split}", f"masks/{spec.file_split}")


def _class_names(spec: DataSpec) -> list[str]:
    if spec.classes:
        return list(spec.classes)
    listing = None if spec.root is None else spec.root / "classes.txt"
    if listing is not None and listing.is_file():
        return lines_of(listing)
    raise DataError(f"{spec.title}: no class names: give data.classes=[…] in the order of the ids, or classes.txt")


def paired(
    pictures: Path, masks: Path, findings: Findings, *, mask_suffix: str = ""
) -> tuple[list[str], list[Path | None]]:
    """Pairs the pictures below one folder with the masks below another, by path without suffix.

    Args:
        pictures: folder of pictures.
        masks: folder of masks; it may be the same one where `mask_suffix` tells them apart.
        findings: takes masks without a picture, and names that fit twice. (Pictures without a mask are told when the
            table is built.)
        mask_suffix: what a mask's name has after its picture's.

    Returns:
        Pictures relative to their folder, sorted, and each one's mask or None.
    """
    found = _names(images_below(pictures, findings), pictures)
    names: dict[str, str] = {}
    for name in found:
        stem = name.rpartition(".")[0]
        if masks == pictures and mask_suffix and stem.endswith(mask_suffix):
            continue
        if stem in names:
            findings.error(
                "same-name", pictures / name, f"{names[stem]} has the same name: which is the mask's picture?"
            )
        names.setdefault(stem, name)
    by_stem: dict[str, Path] = {}
    for name in _names(files_below(masks, MASK_SUFFIXES, findings if masks != pictures else Findings()), masks):
        stem = name.rpartition(".")[0]
        if not stem.endswith(mask_suffix):
            continue
        stem = stem.removesuffix(mask_suffix)
        if masks == pictures and not mask_suffix:
            continue
        if stem not in names:
            findings.error("missing-picture", masks / name, f"no picture of that name in {pictures}")
        elif stem in by_stem:
            findings.error("same-name", masks / name, f"{by_stem[stem].name} is a mask of the same name")
        by_stem.setdefault(stem, masks / name)
    return list(names.values()), [by_stem.get(stem) for stem in names]


def _names(paths: Sequence[Path], folder: Path) -> list[str]:
    """Relative to `folder` with forward slashes, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in paths)


NAMES = (*("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "Sign", "Fence", "Car", "Pedestrian", "Bicyclist"),)
"""In the order of their ids, 0 to 10."""
VOID = 11


def open_camvid(spec: DataSpec, findings: Findings) -> Source:
    """The split of CamVid that `spec` names."""
    classes = ClassTable.of(NAMES, first_id=0)
    values = MaskValues.of({label: label for label in range(len(NAMES))}, ignored=(VOID, 255), void=VOID)
    pictures, masks = folders(spec, spec.file_split, f"{spec.file_split}annot")
    return open_pairs(spec, pictures, masks, values, classes, findings)
