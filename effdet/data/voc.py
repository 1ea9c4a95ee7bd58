"""Pascal VOC XML: a file for each image, in the official layout and those that labelling tools export.

| layout | splits |
|---|---|
| ``Annotations/``, ``JPEGImages/``, ``ImageSets/Main/SPLIT.txt`` (or lists in ``ImageSets/``, or in the root) | the lists |
| the same with ``ImageSets/Main/default.txt`` (CVAT), or without any list | all is train |
| ``train/*.xml``, ``valid/*.xml`` beside their images (Roboflow), or ``SPLIT/Annotations`` | the folders |
| ``*.xml`` beside their images (labelImg) | all is train |

Coordinates. VOC counts pixels from 1 and both corners belong to the object (VOC2012 devkit, section 4), so a box covers
``xmin - 1 … xmax`` in the continuous frame where 0 is the left edge of the image: width = xmax - xmin + 1. A box
whose corners coincide would by that rule cover one pixel; in practice it is a slip of the mouse, so it counts as
having no area.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from effdet.data.boxes import Boxes, assemble
from effdet.data.checks import DataError, Findings, check_names
from effdet.data.listing import files_below, images_below, lines_of, readings
from effdet.data.records import Dataset, RecordTable
from effdet.data.spec import SPLIT_DIRS, SPLITS, DataSpec, has_split_dirs
from effdet.files import FileError, decode_text, is_image
from effdet.files.scalars import flag, number, truth, whole
from heads.structures import ClassTable

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
        return Layout(passed, spec.images or images_of(passed, passed.parent), tuple(xml_files(passed)))
    root = spec.need_root()
    years = [sorted(root.glob(pattern), reverse=True) for pattern in ("VOC[0-9]*", "VOCdevkit/VOC[0-9]*")]
    for base in (root, *years[0], *years[1]):
        for name in ANNOTATIONS:
            if xml_files(base / name):
                return _listed(spec, base, base / name)
    for name in SPLIT_DIRS[spec.file_split]:
        for directory in (*(root / name / part for part in ANNOTATIONS), root / name):
            if stems := tuple(xml_files(directory, deep=directory != root / name)):
                return Layout(directory, spec.images or images_of(directory, root / name), stems)
    if spec.file_split == "train" and not has_split_dirs([root]) and (stems := tuple(xml_files(root, deep=False))):
        return Layout(root, spec.images or images_of(root, root), stems)
    raise spec.lacks_split("folder Annotations", annotations="DIR")


def _listed(spec: DataSpec, base: Path, directory: Path) -> Layout:
    """A split that a list names; all of a set without lists is train."""
    stems = tuple(xml_files(directory))
    images = spec.images or images_of(directory, base)
    listing = spec.named_file() or _list_of(base, spec)
    if listing is not None:
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


def xml_files(directory: Path, *, deep: bool = True) -> dict[str, Path]:
    """The annotation files below a folder by their paths there without the suffix (``a``, ``sub/a``), sorted."""
    if not directory.is_dir():
        return {}
    found = files_below(directory, (".xml",), Findings(), deep=deep)
    return {path.relative_to(directory).with_suffix("").as_posix(): path for path in found}


def annotation_dirs(spec: DataSpec, own: Path) -> Sequence[Path]:
    """The folders of annotations of all splits, `own` first: the classes are those of the whole set."""
    found = [own]
    for split in SPLITS:
        with suppress(DataError):
            found.append(layout(replace(spec, split=split, val_fraction=None)).annotations)
    return list(dict.fromkeys(found))


def images_of(annotations: Path, base: Path) -> Path:
    """The folder of the images beside a folder of annotations."""
    for directory in (*(base / name for name in IMAGES), annotations, base):
        if directory.is_dir() and images_below(directory, Findings(), deep=directory.name in IMAGES):
            return directory
    return base / IMAGES[0]


CORNERS = ("xmin", "ymin", "xmax", "ymax")


def open_voc(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of a VOC set that `spec` names."""
    found = layout(spec)
    files = xml_files(found.annotations)
    parsed = {stem: _parse(files[stem], stem, findings) for stem in found.stems if stem in files}
    for stem in found.stems:
        if stem not in parsed:
            path = found.annotations / f"{stem}.xml"
            findings.error("missing-annotation", path, "no such file, but the split lists it")
    names = list(spec.classes or _all_names(spec, found, parsed))
    if not names:
        findings.error("no-categories", found.annotations, "no object in any file has a name")
    check_names(names, "data.classes", findings)
    classes = ClassTable.of(names)
    table = _table(list(parsed.values()), found.images, classes, spec, findings)
    return Dataset(table, classes, name=spec.name, split=spec.split)


def _all_names(spec: DataSpec, found: Layout, parsed: Mapping[str, _Objects]) -> list[str]:
    """The names of all objects of the set, in all splits, by the alphabet."""
    own = {objects.path: objects for objects in parsed.values()}
    paths = [path for directory in annotation_dirs(spec, found.annotations) for path in xml_files(directory).values()]
    every = (own.get(path) or _parse(path, path.stem, Findings()) for path in paths)
    return sorted({name for objects in every for name in objects.names})


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an annotation file.

    Raises:
        FileError: it cannot be parsed, or holds a DOCTYPE.
    """
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content.replace(b"\0", b""):  # UTF-16 too; entities are a way to fill the memory
            raise FileError(path, "holds a DOCTYPE; entities are not expanded: remove it")
        return ElementTree.fromstring(content)
    # Beside ParseError: LookupError and ValueError for an encoding that Python does not know, OSError for the file.
    except FileError:
        raise
    except (ElementTree.ParseError, LookupError, ValueError, OSError, RecursionError) as error:
        declared = b"encoding" in content[:200] if isinstance(error, ElementTree.ParseError) else True
        if not declared:
            decode_text(content, path)  # names the byte, where the text is not UTF-8
        raise FileError(path, f"cannot be parsed ({str(error).splitlines()[0]})") from None


@dataclass(frozen=True)
class _Objects:
    stem: str
    """Path below the folder of annotations, without the suffix."""
    path: Path
    file_name: str
    size: tuple[int, int]
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    """Place of each object in its file, from 1."""
    corners: np.ndarray
    difficult: tuple[bool, ...]


def _parse(path: Path, stem: str, findings: Findings) -> _Objects:
    try:
        root = read_xml(path)
    except FileError as error:
        findings.error("bad-xml", path, error.reason)
        return _Objects(stem, path, "", (0, 0), (), (), np.zeros((0, 4)), ())
    stated = [whole(root.findtext(f"size/{side}")) or 0 for side in ("height", "width")]
    height, width = (side if 0 < side < 2**31 else 0 for side in stated)
    names, numbers, corners, difficult = [], [], [], []
    for position, node in enumerate(root.findall("object"), start=1):
        name = (node.findtext("name") or "").strip()
        values = [number(node.findtext(f"bndbox/{corner}")) for corner in CORNERS]
        if not name or None in values:
            text = "needs a name and a bndbox with the numbers xmin, ymin, xmax, ymax"
            findings.error("bad-annotation", path, text, item=f"object {position}")
            continue
        names.append(name)
        numbers.append(position)
        corners.append(values)
        marked = node.findtext("difficult")
        if truth(marked) is None:
            text = f"difficult is {(marked or '').strip()!r:.40}: read as {int(flag(marked))}"
            findings.warning("bad-difficult", path, text, item=f"object {position} ({name})")
        difficult.append(flag(marked))
    file_name = (root.findtext("filename") or "").strip()
    array = np.array(corners, np.float64).reshape(-1, 4)
    return _Objects(stem, path, file_name, (height, width), tuple(names), tuple(numbers), array, tuple(difficult))


def _table(
    entries: Sequence[_Objects], images: Path, classes: ClassTable, spec: DataSpec, findings: Findings
) -> RecordTable:
    labels_of = {name: label for label, name in enumerate(classes.names)}
    counts = [len(objects.names) for objects in entries]
    owner = np.repeat(np.arange(len(entries)), counts)
    names = [name for objects in entries for name in objects.names]
    numbers = [number for objects in entries for number in objects.numbers]
    labels = np.array([labels_of.get(name, -1) for name in names], np.int64)

    def where(row: int) -> tuple[str, str]:
        return str(entries[owner[row]].path), f"object {numbers[row]} ({names[row]})"

    for row in np.flatnonzero(labels < 0).tolist():
        file, item = where(row)
        text = f"class {names[row]!r} is not among data.classes ({', '.join(map(str, classes.names))})"
        findings.error("unknown-category", file, text, item=item)
    corners = np.concatenate([np.zeros((0, 4)), *(objects.corners for objects in entries)])
    bbox = np.concatenate([corners[:, :2] - 1, corners[:, 2:] - corners[:, :2] + 1], axis=1)
    # Coinciding corners: see the module's text. Reversed ones stay negative, or become as flat.
    bbox[:, 2:] -= corners[:, 2:] <= corners[:, :2]
    difficult = np.array([flag for objects in entries for flag in objects.difficult], np.bool_)
    there = ImageNames(images, findings)
    image_names = [there.of(objects.stem, objects.file_name) for objects in entries]
    sizes = np.array([objects.size for objects in entries], np.int64)
    boxes = Boxes(owner, labels, bbox, crowd=difficult & (spec.difficult == "ignore"))
    return assemble(images, image_names, boxes, where, findings, sizes=sizes)


class ImageNames:
    """The images below a folder, by their paths there without the suffix."""

    def __init__(self, directory: Path, findings: Findings) -> None:
        found = images_below(directory, findings) if directory.is_dir() else []
        self.names = {path.relative_to(directory).as_posix() for path in found}
        self._by_stem: dict[str, list[str]] = {}
        for name in sorted(self.names):
            self._by_stem.setdefault(PurePosixPath(name).with_suffix("").as_posix(), []).append(name)

    def of(self, stem: str, file_name: str) -> str:
        """The image beside an annotation file: of its path, as VOC rules, else the one that its ``filename`` names.

        Args:
            stem: path of the annotation file below its folder, without the suffix.
            file_name: what it says; of several images of one stem (``a.jpg``, ``a.png``) it chooses.
        """
        named = file_name.replace("\\", "/").rpartition("/")[2]
        beside = PurePosixPath(stem).with_name(named).as_posix() if named not in ("", ".", "..") else ""
        own = self._by_stem.get(stem, [])
        if beside in own or not own and beside in self.names:
            return beside
        jpegs = (name for name in own if name.lower().endswith((".jpg", ".jpeg")))
        return next(jpegs, own[0] if own else f"{stem}.jpg")
