"""Any pair of folders of images and masks: ``data=masks data.root=DIR data.classes=[road,car]``.

Below the root lie ``images/{train,val,test}`` and ``masks/{train,val,test}`` (also ``labels``, ``annotations``), or
``{train,val,test}/images`` and ``{train,val,test}/masks``; other folders are named with ``data.train_images`` and
``data.train_annotations``. A mask has its image's name, but for the suffix and ``data.mask_suffix``.

CamVid is one in SegNet's split: ``{train,val,test}/`` beside ``{train,val,test}annot/``, 480×360, 11 classes and void.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from effdet.data.checks import DataError, Findings
from effdet.data.listing import files_below, images_below, lines_of, relative_names
from effdet.data.mask_index import Images, build_table
from effdet.data.mask_io import NO_BOXES, MaskDataset, MaskValues, values_of
from effdet.data.mask_io import SUFFIXES as MASK_SUFFIXES
from effdet.data.records import Dataset
from effdet.data.spec import SPLIT_DIRS, DataSpec, has_split_dirs
from heads.structures import ClassTable

IMAGE_DIRS = ("images", "imgs", "pictures")
MASK_DIRS = ("masks", "labels", "annotations")


def open_masks(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of a pair of folders that `spec` names."""
    images, masks = _directories(spec)
    names, numbers = values_of(_class_names(spec), spec.values)
    ids = {label: value for value, label in reversed(numbers.items())}
    table = ClassTable(tuple(names), tuple(ids[label] for label in range(len(names))))
    if both := sorted(set(numbers) & set(spec.ignored)):
        if spec.values is not None or tuple(spec.ignored) != (255,):
            raise DataError(f"{spec.title}: data.ignored and data.values both name {both[0]}: a value has one meaning")
    values = MaskValues.of(numbers, ignored=spec.ignored, void=spec.ignored[0] if spec.ignored else 255)
    return open_pairs(spec, images, masks, values, table, findings)


def open_pairs(
    spec: DataSpec, images: Path, masks: Path, values: MaskValues, classes: ClassTable, findings: Findings
) -> Dataset:
    """A source of images with the masks of the same names."""
    names, files = paired(images, masks, findings, mask_suffix=spec.mask_suffix)
    return masks_only(spec, Images(images, names, files), values, classes, findings)


def masks_only(spec: DataSpec, images: Images, values: MaskValues, classes: ClassTable, findings: Findings) -> Dataset:
    """The split of a set that labels masks and no boxes."""
    return MaskDataset(
        build_table(images, values, len(classes), findings),
        NO_BOXES,
        name=spec.name,
        split=spec.split,
        labelled=("semantic",),
        semantic_classes=classes,
        values=values,
    )


def directories(spec: DataSpec, images: str, masks: str) -> tuple[Path, Path]:
    """The folders of images and masks of a split: those that the user names, else those of these names in ``data.root``.

    Raises:
        MissingSplit: a folder in the root is not there; it says with which key to name that one.
    """
    passed = {part: spec.named_dir(part) for part in ("images", "annotations")}
    root = spec.need_root() if None in passed.values() else Path()
    own = {part: passed[part] or root / name for part, name in (("images", images), ("annotations", masks))}
    if lacking := {part: "DIR" for part, directory in own.items() if not directory.is_dir()}:
        names = " and ".join(own[part].relative_to(root).as_posix() for part in lacking)
        raise spec.lacks_split(f"folder{'s' if len(lacking) > 1 else ''} {names}", **lacking)
    return own["images"], own["annotations"]


def _directories(spec: DataSpec) -> tuple[Path, Path]:
    """The folders of images and masks of the split."""
    if spec.images is not None and spec.annotations is not None:
        return directories(spec, "", "")
    root = spec.need_root()
    patterns = [[f"{{}}/{split}", f"{split}/{{}}"] for split in SPLIT_DIRS[spec.file_split]]
    if spec.file_split == "train" and (spec.val_fraction is not None or not has_split_dirs([root], IMAGE_DIRS)):
        patterns.append(["{}"])
    for of_split, images, masks in product(patterns, IMAGE_DIRS, MASK_DIRS):
        for pattern in of_split:
            pair = spec.images or root / pattern.format(images), spec.annotations or root / pattern.format(masks)
            if pair[0].is_dir() and pair[1].is_dir():
                return pair
    return directories(spec, f"images/{spec.file_split}", f"masks/{spec.file_split}")


def _class_names(spec: DataSpec) -> list[str]:
    if spec.classes:
        return list(spec.classes)
    listing = None if spec.root is None else spec.root / "classes.txt"
    if listing is not None and listing.is_file():
        return lines_of(listing)
    raise DataError(f"{spec.title}: no class names: give data.classes=[…] in the order of the ids, or classes.txt")


def paired(
    images: Path, masks: Path, findings: Findings, *, mask_suffix: str = ""
) -> tuple[list[str], list[Path | None]]:
    """Pairs the images below one folder with the masks below another, by path without suffix.

    Args:
        images, masks: the folders; they may be the same one where `mask_suffix` tells its files apart.
        findings: takes masks without an image, and names that fit twice. (Images without a mask are reported when the
            table is built.)
        mask_suffix: what a mask's name has after its image's.

    Returns:
        Images relative to their folder, sorted, and each one's mask or None.
    """
    found = sorted(relative_names(images_below(images, findings), images))
    names: dict[str, str] = {}
    for name in found:
        stem = name.rpartition(".")[0]
        if masks == images and mask_suffix and stem.endswith(mask_suffix):
            continue
        if stem in names:
            findings.error("same-name", images / name, f"{names[stem]} has the same name: which is the mask's image?")
        names.setdefault(stem, name)
    by_stem: dict[str, Path] = {}
    listed = files_below(masks, MASK_SUFFIXES, findings if masks != images else Findings())
    for name in sorted(relative_names(listed, masks)):
        stem = name.rpartition(".")[0]
        if not stem.endswith(mask_suffix):
            continue
        stem = stem.removesuffix(mask_suffix)
        if masks == images and not mask_suffix:
            continue
        if stem not in names:
            findings.error("missing-image", masks / name, f"no image of that name in {images}")
        elif stem in by_stem:
            findings.error("same-name", masks / name, f"{by_stem[stem].name} is a mask of the same name")
        by_stem.setdefault(stem, masks / name)
    return list(names.values()), [by_stem.get(stem) for stem in names]


NAMES = ("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "Sign", "Fence", "Car", "Pedestrian", "Bicyclist")
"""In the order of their ids, 0 to 10."""
VOID = 11


def open_camvid(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of CamVid that `spec` names."""
    classes = ClassTable.of(NAMES, first_id=0)
    values = MaskValues.of({label: label for label in range(len(NAMES))}, ignored=(VOID, 255), void=VOID)
    images, masks = directories(spec, spec.file_split, f"{spec.file_split}annot")
    return open_pairs(spec, images, masks, values, classes, findings)
