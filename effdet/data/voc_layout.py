"""Where the parts of a Pascal VOC set lie: the official layout, and those that labelling tools export.

| layout | splits |
|---|---|
| ``Annotations/``, ``JPEGImages/``, ``ImageSets/Main/SPLIT.txt`` (or lists in ``ImageSets/``, or in the root) | the lists |
| the same with ``ImageSets/Main/default.txt`` (CVAT), or without any list | all is train |
| ``train/*.xml``, ``valid/*.xml`` beside their images (Roboflow), or ``SPLIT/Annotations`` | the folders |
| ``*.xml`` beside their images (labelImg) | all is train |
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from effdet.data.checks import DataError, Findings
from effdet.data.listing import files_below, images_below, lines_of
from effdet.data.path_search import readings
from effdet.data.spec import SPLIT_DIRS, SPLITS, DataSpec
from effdet.files import is_image

ANNOTATIONS = ("Annotations", "annotations/xmls", "annotations", "xmls")
IMAGES = ("JPEGImages", "images", "Images", "imgs")


@dataclass(frozen=True)
class Layout:
    """The parts of one split."""

    annotations: Path
    """Folder of XML files."""
    images: Path
    """Folder of images."""
    stems: tuple[str, ...]
    """Files of the split, relative to `annotations` and without ``.xml``, sorted."""
    listing: Path | None = None
    """The file that lists them."""
    lines: tuple[str, ...] = ()
    """The name in each of its lines, in order."""


def layout(spec: DataSpec) -> Layout:
    """The parts of the split.

    Raises:
        MissingSplit: the set has none.
        DataError: a folder that the user names is not there.
    """
    passed = spec.annotations
    if passed is not None and passed.suffix.lower() != ".txt":
        if not passed.is_dir():
            key = spec.key("annotations")
            raise DataError(
                f"{spec.title}: {key}={passed} is not a folder of XML files, nor a .txt list of their names"
            )
        return Layout(passed, spec.images or images_of(passed, passed.parent), _stems(passed))
    root = spec.need_root()
    bases = [
        root,
        *sorted(root.glob("VOC[0-9]*"), reverse=True),
        *sorted(root.glob("VOCdevkit/VOC[0-9]*"), reverse=True),
    ]
    base, directory = next(
        ((base, base / name) for base in bases for name in ANNOTATIONS if _stems(base / name)), (None, root)
    )
    if base is not None:
        return _listed(spec, base, directory)
    for name in SPLIT_DIRS[spec.file_split]:
        for directory in (*(root / name / part for part in ANNOTATIONS), root / name):
            if stems := _stems(directory, deep=directory != root / name):
                return Layout(directory, spec.images or images_of(directory, root / name), stems)
    apart = any((root / name).is_dir() for names in SPLIT_DIRS.values() for name in names)
    if spec.file_split == "train" and not apart and (stems := _stems(root, deep=False)):
        return Layout(root, spec.images or images_of(root, root), stems)
    raise spec.lacks_split("folder Annotations", annotations="DIR")


def _listed(spec: DataSpec, base: Path, directory: Path) -> Layout:
    """A split that a list names; all of a set without lists is train."""
    stems = _stems(directory)
    images = spec.images or images_of(directory, base)
    listing = spec.annotations or _list_of(base, spec)
    if listing is not None:
        if not listing.is_file():
            raise DataError(f"{spec.title}: {spec.key('annotations')}={listing} is not a file")
        known = frozenset(stems)
        lines = tuple(named(line, known) for line in lines_of(listing))
        return Layout(directory, images, tuple(sorted(set(lines))), listing, lines)
    others = [split for split in SPLITS if _list_of(base, replace(spec, split=split, val_fraction=None)) is not None]
    if spec.file_split == "train" and spec.train_list == "train" and (spec.val_fraction is not None or not others):
        return Layout(directory, images, stems)
    raise spec.lacks_split(f"ImageSets/Main/{spec.list_name}.txt", annotations="FILE")


def _list_of(base: Path, spec: DataSpec) -> Path | None:
    """The file that lists the split."""
    names = SPLIT_DIRS[spec.file_split] if spec.list_name in SPLITS else (spec.list_name,)
    if spec.list_name == "train":
        names = (*names, "default")
    directories = (base / "ImageSets" / "Main", base / "ImageSets", base)
    paths = (directory / f"{name}.txt" for directory in directories for name in names)
    return next((path for path in paths if path.is_file()), None)


def named(line: str, stems: Collection[str]) -> str:
    """The stem that a line of a list names, of those that there are; where it is none of them, what the line says.

    Lines may hold spaces, the suffix of the image, folders of another place, the 1, 0 or -1 of the lists of a class, and the
    image before its XML file.
    """
    last = line
    for reading in readings(_second_of_pair(line)):
        last = reading[:-4] if reading.lower().endswith(".xml") else reading
        parts = [part for part in last.split("/") if part not in ("", ".", "..")]
        for cut in range(len(parts)):
            if (stem := "/".join(parts[cut:])) in stems:
                return stem
    return last.rpartition("/")[2]


def _second_of_pair(line: str) -> str:
    """The XML file of a line that names an image before it; other lines as they are."""
    if line.lower().endswith(".xml"):
        for place, letter in enumerate(line):
            if letter.isspace() and is_image(line[:place]):
                return line[place:].strip()
    return line


def _stems(directory: Path, *, deep: bool = True) -> tuple[str, ...]:
    return tuple(xml_files(directory, deep=deep))


def xml_files(directory: Path, *, deep: bool = True) -> dict[str, Path]:
    """The annotation files below a folder by their paths there without the suffix (``a``, ``sub/a``), sorted."""
    if not directory.is_dir():
        return {}
    found = files_below(directory, (".xml",), Findings(), deep=deep)
    return {path.relative_to(directory).with_suffix("").as_posix(): path for path in found}


def annotation_dirs(spec: DataSpec, own: Path) -> Sequence[Path]:
    """The folders of annotations of all splits, `own` first: the classes are those of the whole set."""
    return list(dict.fromkeys((own, *_directories(spec))))


def _directories(spec: DataSpec) -> Iterator[Path]:
    for split in SPLITS:
        try:
            yield layout(replace(spec, split=split, val_fraction=None)).annotations
        except DataError:
            continue


def images_of(annotations: Path, base: Path) -> Path:
    """The folder of the images beside a folder of annotations."""
    for directory in (*(base / name for name in IMAGES), annotations, base):
        if directory.is_dir() and images_below(directory, Findings(), deep=directory.name in IMAGES):
            return directory
    return base / IMAGES[0]
