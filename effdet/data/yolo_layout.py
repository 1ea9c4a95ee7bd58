"""What a YOLO set says of itself: its splits, its class names, its label files.

The splits come from ``data.yaml`` (``path``, ``train``, ``val``, ``test``, ``names``), darknet's ``obj.data`` (CVAT's export),
else from the folders ``images/{train,val,test}`` or ``{train,valid,test}/images``; without any of them, all of ``images`` or
``obj_train_data`` is train. Names come from the YAML, ``classes.txt``, ``obj.names`` or ``data.classes``.

Scalars of the YAML are read as text, so that a class may be called ``no`` or ``007``. Paths follow
:mod:`effdet.data.listing`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from effdet.data.checks import DataError, Findings, MissingSplit, check_names
from effdet.data.listing import ImageFinder, find, images_below, lines_of, text_of
from effdet.data.spec import SPLIT_DIRS, DataSpec, has_split_dirs, inside
from effdet.files.scalars import whole

KNOWN = ("names", "path", "kpt_shape", *(key for keys in SPLIT_DIRS.values() for key in keys))


def misspelt(keys: Iterable[Any]) -> dict[str, str]:
    """Keys that are none of ours, and the known one that each is near to, where the file lacks that one.

    Other keys are no fault: exporters add their own.
    """
    texts = [key for key in keys if isinstance(key, str)]
    lacking = [key for key in KNOWN if key not in texts]
    near = {key: difflib.get_close_matches(key.lower(), lacking, n=1, cutoff=0.75) for key in texts if key not in KNOWN}
    return {key: found[0] for key, found in near.items() if found}


def check_keys(values: Mapping[str, Any], names: Sequence[str], file: Path, findings: Findings) -> None:
    """Warns of keys that are not read since they are misspelt, and of ``nc`` (darknet: ``classes``) beside other names."""
    for key, meant in misspelt(values).items():
        findings.warning("misspelt-key", file, f"key {key} is not read: {meant} is meant?")
    stated = values.get("nc", values.get("classes") if file.suffix.lower() == ".data" else None)
    count = whole(stated)
    if count is not None and count != len(names):
        text = f"says {count} classes, and names {len(names)}: the names are taken"
        findings.warning("class-count", file, text)


YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NOTHING = ("", "~", "null", "none")


class _TextLoader(yaml.SafeLoader):
    """Plain scalars stay text; tags other than YAML's own are refused."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True)
class Settings:
    """The content of ``data.yaml``."""

    values: dict[str, Any]
    """Keys with texts, lists and mappings of texts; empty where there is no file."""
    root: Path
    """``data.root``, else the folder of the YAML."""
    file: Path | None = None

    @property
    def bases(self) -> list[Path]:
        """Folders from which paths count: the YAML's key ``path``, its folder, ``data.root``."""
        directories = [self.root] if self.file is None else [self.file.parent, self.root]
        stated = self.values.get("path")
        if isinstance(stated, str) and stated.lower() not in NOTHING:
            within, outside = find(stated, self.root, directories, Path.is_dir)
            directories = [*([within] if within else []), *directories, *([outside] if outside else [])]
        return list(dict.fromkeys(directories))

    @property
    def where(self) -> str:
        """How messages call the file."""
        return "data.yaml" if self.file is None else self.file.name

    @property
    def place(self) -> Path:
        """Where findings say that it stands."""
        return self.file or self.root


def read_settings(spec: DataSpec) -> Settings:
    """The settings of a set; those without values where it has no file of them."""
    passed = spec.annotations
    path = passed if passed is not None and passed.suffix.lower() in (".yaml", ".yml", ".data") else None
    if path is None and spec.root is not None:
        root = spec.need_root()
        path = next((root / name for name in (*YAMLS, "obj.data") if (root / name).is_file()), None)
        if path is None:
            others = [entry for entry in sorted(root.glob("*.y*ml")) if entry.is_file() and entry.name[0] != "."]
            others = [entry for entry in others if "names" in _content(entry, spec)]
            path = others[0] if len(others) == 1 else None
    if path is None:
        named = [directory.parent for directory in (passed, spec.images) if directory is not None]
        return Settings({}, spec.root or (named[0] if named else Path()))
    content = _darknet(path) if path.suffix.lower() == ".data" else _content(path, spec)
    return Settings(content, spec.root or path.parent, path)


def _content(path: Path, spec: DataSpec) -> dict[str, Any]:
    try:
        content = yaml.load(text_of(path, kind="bad-yaml"), _TextLoader)
    except (yaml.YAMLError, RecursionError) as error:
        text = f"{spec.title}: {path} cannot be read ({str(error).splitlines()[0]})"
        raise DataError(text, kind="bad-yaml", file=path) from None
    if not isinstance(content, dict):
        raise DataError(f"{spec.title}: {path} must hold keys such as names, train and val", kind="bad-yaml", file=path)
    return content


def _darknet(path: Path) -> dict[str, str]:
    """Lines ``key = value`` of darknet's ``obj.data``."""
    pairs = (line.partition("=") for line in lines_of(path))
    return {key.strip(): value.strip() for key, _, value in pairs}


def text_at(settings: Settings, key: str, value: Any, spec: DataSpec) -> str:
    """A scalar of the YAML. (The text of lists of aliases of lists of aliases would fill the memory.)"""
    if not isinstance(value, str):
        text = f"{spec.title}: {key} in {settings.where} must hold words, got a {type(value).__name__}"
        raise DataError(text, kind="bad-yaml", file=settings.place)
    return value


def class_names(spec: DataSpec, settings: Settings, findings: Findings) -> list[str]:
    """The names of the classes in the order of their numbers; a name that occurs twice is noted."""
    names, file = _names(spec, settings)
    check_names(names, file, findings)
    if settings.file is not None:
        check_keys(settings.values, names, settings.file, findings)
    return names


def _names(spec: DataSpec, settings: Settings) -> tuple[list[str], Path | str]:
    names, file = settings.values.get("names"), settings.place
    if spec.classes:
        return list(spec.classes), "data.classes"
    if isinstance(names, dict):
        labels = {whole(label): name for label, name in names.items()}
        if set(labels) != set(range(len(names))):
            shown = f"must be numbered 0 … {len(names) - 1}, got {sorted(map(str, names))[:8]}"
            raise DataError(f"{spec.title}: names in {settings.where} {shown}", kind="bad-yaml", file=file)
        return [text_at(settings, "names", labels[label], spec).strip() for label in range(len(names))], file
    if isinstance(names, list) and names:
        return [text_at(settings, "names", name, spec).strip() for name in names], file
    listed = [base / name for base in settings.bases for name in ("classes.txt", "labels/classes.txt", "obj.names")]
    if spec.annotations is not None and spec.annotations.is_dir():
        listed.insert(0, spec.annotations / "classes.txt")
    if isinstance(names, str) and names.lower() not in NOTHING:
        within, outside = find(names, settings.root, settings.bases, Path.is_file)
        listed = [path for path in (within, outside) if path] + listed
    for path in listed:
        if path.is_file():
            return lines_of(path), path
    slips = misspelt(settings.values).items()
    said = [f"{key} in {settings.where} is not read, {meant} is meant?" for key, meant in slips]
    remedy = "; ".join([*said, "give data.yaml with names, classes.txt, or data.classes=[…]"])
    text = f"{spec.title}: no class names under {settings.root}: {remedy}"
    raise DataError(text, kind="no-class-names", file=file)


def keypoint_numbers(spec: DataSpec, settings: Settings) -> int:
    """Numbers of a line that follow its box: K · D of ``kpt_shape: [K, D]``, keypoints of 2 or 3 numbers; 0 without."""
    shape = settings.values.get("kpt_shape")
    if shape is None or isinstance(shape, str) and shape.lower() in NOTHING:
        return 0
    sides = [whole(side) for side in shape] if isinstance(shape, list) and len(shape) == 2 else [None, None]
    count, dimensions = sides
    if count is None or count < 1 or dimensions not in (2, 3):
        text = f"{spec.title}: kpt_shape={shape!r:.40} in {settings.where} must be [keypoints, 2 or 3]"
        raise DataError(text, kind="bad-yaml", file=settings.place)
    return count * dimensions


def split_images(spec: DataSpec, settings: Settings, findings: Findings) -> list[Path]:
    """The images of the split, sorted.

    Raises:
        MissingSplit: it has none, or a folder of test that ``data.yaml`` names is not there.
        DataError: a folder that is named is not there.
    """
    if (directory := spec.named_dir("images")) is not None:
        return images_below(directory, findings)
    if spec.annotations is not None and spec.annotations.suffix.lower() == ".txt":
        return _in_list(spec.annotations, settings)
    for key in SPLIT_DIRS[spec.file_split]:
        stated = settings.values.get(key) or ""
        stated = [text_at(settings, key, entry, spec) for entry in (stated if isinstance(stated, list) else [stated])]
        if entries := [entry for entry in stated if entry.lower() not in NOTHING]:
            return _in_entries(entries, key, spec, settings, findings)
    return _in_dirs(spec, settings, findings)


def _in_entries(entries: Sequence[str], key: str, spec: DataSpec, settings: Settings, findings: Findings) -> list[Path]:
    """The images of a key such as ``train: [a/images, b.txt]``."""
    there = lambda path: path.is_dir() or (path.is_file() and path.suffix.lower() == ".txt")
    found = [find(entry, settings.root, settings.bases, there) for entry in entries]
    # An entry that leads elsewhere by what it says is not taken for a place inside that another entry means.
    meant = {within for within, outside in found if within is not None and outside is None}
    images: set[Path] = set()
    for entry, (within, outside) in zip(entries, found, strict=True):
        place = outside if within is None or (outside is not None and within in meant) else within
        if place is None:
            bases = ", ".join(map(str, settings.bases))
            said = f"{settings.where} names {key}: {entry}"
            text = f"{spec.title}: {said}, which is neither a folder nor a .txt list under {bases}"
            if spec.file_split == "test":
                raise MissingSplit(text, kind="missing-split", file=settings.place)
            raise DataError(text, kind="missing-images", file=settings.place)
        if place == outside:
            text = f"{key}: {entry} leads out of data.root, to {place}"
            findings.warning("outside-root", settings.place, text)
        elif outside is not None:
            text = f"{key}: {entry} is read as {place}, inside data.root, and not as {outside}"
            findings.warning("outside-root", settings.place, text)
        images.update(images_below(place, findings) if place.is_dir() else _in_list(place, settings))
    return sorted(images)


def _in_list(path: Path, settings: Settings) -> list[Path]:
    """The images of a list: ``./`` counts from its folder, other paths from that of the set."""
    lines = lines_of(path)
    own = [line for line in lines if line.startswith("./")]
    from_list = ImageFinder(settings.root, [path.parent, *settings.bases])
    from_set = ImageFinder(settings.root, [*settings.bases, path.parent])
    return sorted({*map(from_list, own), *(from_set(line) for line in lines if not line.startswith("./"))})


def _in_dirs(spec: DataSpec, settings: Settings, findings: Findings) -> list[Path]:
    """The images of the split's folder; a set without any split's folder is train."""
    if spec.root is None:
        spec.need_root()  # says how to name it
    bases = settings.bases
    for key in SPLIT_DIRS[spec.file_split]:
        for base in bases:
            for directory in (base / "images" / key, base / key / "images"):
                if directory.is_dir():
                    return images_below(directory, findings)
    if spec.file_split == "train" and not has_split_dirs(bases, ("images",)):
        for base in bases:
            for directory in (base / "images", base / "obj_train_data", base):
                if directory.is_dir() and (images := images_below(directory, findings, deep=directory != base)):
                    return images
    raise spec.lacks_split(f"data.yaml, images/{spec.file_split} or {spec.file_split}/images", images="DIR")


def label_file(image: Path, spec: DataSpec) -> Path:
    """The labels of an image.

    ``…/images/a/b.jpg`` has ``…/labels/a/b.txt`` (the last ``images`` counts), or the file beside it where that is there and
    the other is not. In a folder that the user named with ``data.SPLIT_annotations`` labels lie as the images lie below
    ``data.SPLIT_images``, else below their folder ``images`` or that folder's split.
    """
    parts = list(image.parts)
    at = next((place for place in reversed(range(len(parts) - 1)) if parts[place] == "images"), None)
    passed = spec.annotations
    if passed is not None and passed.is_dir():
        if spec.images is not None and inside(image, spec.images):
            return _text(passed / image.relative_to(spec.images))
        start = len(parts) - 1 if at is None else at + 1
        below = [_text(passed.joinpath(*parts[cut:])) for cut in range(start, min(start + 2, len(parts)))]
        return next((path for path in below if path.is_file()), below[0])
    if at is None:
        return _text(image)
    labels = _text(Path(*parts[:at], "labels", *parts[at + 1 :]))
    beside = _text(image)
    return beside if not labels.is_file() and beside.is_file() else labels


def _text(path: Path) -> Path:
    """The label file of this stem: ``.txt``, or ``.TXT`` where only that is there."""
    usual, upper = path.with_suffix(".txt"), path.with_suffix(".TXT")
    return upper if not usual.is_file() and upper.is_file() else usual
