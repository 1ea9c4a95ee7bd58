"""YOLO txt: one ``labels/…/NAME.txt`` for each ``images/…/NAME.jpg``, with a line ``class cx cy w h`` for each box.

Numbers are shares of the picture's width and height; classes count from 0. A line with six or more numbers after the
class is a polygon, of which the bounding box is taken. A picture without a label file holds nothing.

The splits come from ``data.yaml`` (``path``, ``train``, ``val``, ``test``, ``names``), else from the folders
``images/{train,val,test}`` or ``{train,valid,test}/images``. Names come from the YAML, ``classes.txt`` or
``data.classes``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.boxes import Parsed, assemble
from effdet.data.checks import DataError, Findings
from effdet.data.listing import files_below, images_below, lines_of, text_of
from effdet.data.records import RecordTable, Source
from effdet.data.spec import DataSpec
from effdet.files import FileError, read_lines
from heads.structures import ClassTable

SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
OVERHANG = 2.0
"""A share beyond this is no box that leaves its picture but a number in pixels."""


def open_yolo(spec: DataSpec, findings: Findings) -> Source:
    """The split of a YOLO set that `spec` names."""
    settings, base = _settings(spec)
    names = _names(spec, settings, base)
    pictures = _listed(spec, settings, base, findings)
    if not pictures:
        raise spec.lacks_split(f"picture of split {spec.file_split}")
    common = _common_folder(pictures)
    labels = [label_file(path, spec) for path in pictures]
    if not any(path.is_file() for path in labels):
        findings.error(
            "no-labels", labels[0].parent, f"none of {len(labels)} pictures has a label file, such as {labels[0].name}"
        )
    _unpaired(labels, findings)
    classes = ClassTable.of(names, first_id=0)
    table = _table(pictures, labels, common, classes, findings)
    return Source(table, classes, name=spec.name, split=spec.split)


def _settings(spec: DataSpec) -> tuple[dict[str, Any], Path]:
    """The content of ``data.yaml`` (empty where there is none), and the folder from which its paths count."""
    import yaml

    given = spec.annotations
    path = given if given is not None and given.suffix in (".yaml", ".yml") else None
    if path is None and spec.root is not None:
        spec.need_root()
        found = [spec.root / name for name in ("data.yaml", "data.yml", "dataset.yaml") if (spec.root / name).is_file()]
        path = found[0] if found else None
    if path is None:
        return {}, spec.root if spec.root is not None else Path()
    try:
        content = yaml.safe_load(text_of(path, kind="bad-yaml"))
    except (yaml.YAMLError, RecursionError) as error:
        text = f"{spec.title}: {path} cannot be read ({str(error).splitlines()[0]})"
        raise DataError(text, kind="bad-yaml", file=path) from None
    if not isinstance(content, dict):
        raise DataError(f"{spec.title}: {path} must hold keys such as names, train and val", kind="bad-yaml", file=path)
    stated = path.parent / _word(content.get("path") or "", "path", spec)
    return content, stated if stated.is_dir() else path.parent


def _word(value: Any, key: str, spec: DataSpec) -> str:
    """A scalar of the YAML as text. (The text of lists of aliases of lists of aliases would fill the memory.)"""
    if not isinstance(value, (str, int, float)):
        raise DataError(f"{spec.title}: {key} in data.yaml must hold words, got a {type(value).__name__}")
    return str(value)


def _names(spec: DataSpec, settings: dict[str, Any], base: Path) -> list[str]:
    names = settings.get("names")
    if spec.classes:
        return list(spec.classes)
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):  # keys of several types have no order
            raise DataError(
                f"{spec.title}: names in data.yaml must be numbered 0 … {len(names) - 1}, "
                f"got {sorted(names, key=str)[:8]}",
                kind="bad-yaml",
                file=base,
            )
        return [_word(names[label], "names", spec) for label in range(len(names))]
    if isinstance(names, list) and names:
        return [_word(name, "names", spec) for name in names]
    for path in (base / "classes.txt", base / "labels" / "classes.txt", base / "obj.names"):
        if path.is_file():
            return lines_of(path)
    text = f"{spec.title}: no class names: give data.yaml with names, classes.txt, or data.classes=[…]"
    raise DataError(text, kind="no-class-names", file=base)


def _listed(spec: DataSpec, settings: dict[str, Any], base: Path, findings: Findings) -> list[Path]:
    """The pictures of the split, sorted."""
    if spec.images is not None:
        return _pictures_in(spec.images, spec, findings)
    for key in SPLIT_NAMES[spec.file_split]:
        entries = settings.get(key)
        if entries:
            listed = entries if isinstance(entries, list) else [entries]
            return sorted({path for entry in listed for path in _entry(_word(entry, key, spec), base, spec, findings)})
    spec.need_root()
    for key in SPLIT_NAMES[spec.file_split]:
        for folder in (base / "images" / key, base / key / "images"):
            if folder.is_dir():
                return _pictures_in(folder, spec, findings)
    if spec.val_fraction is not None and (base / "images").is_dir():
        return _pictures_in(base / "images", spec, findings)
    raise spec.lacks_split(f"data.yaml, images/{spec.file_split} or {spec.file_split}/images")


def _entry(entry: str, base: Path, spec: DataSpec, findings: Findings) -> list[Path]:
    """The pictures of one ``train:`` entry: a folder, a picture list, or a path that starts one folder too high."""
    for path in (base / entry, base / entry.removeprefix("../")):
        if path.is_dir():
            return _pictures_in(path, spec, findings)
        if path.is_file() and path.suffix.lower() == ".txt":
            return [(path.parent if line.startswith("./") else base) / line for line in lines_of(path)]
    text = f"{spec.title}: data.yaml names {entry!r}, which is neither a folder nor a .txt list under {base}"
    raise DataError(text, kind="missing-pictures", file=base)


def _pictures_in(folder: Path, spec: DataSpec, findings: Findings) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{spec.title}: picture folder {folder} is not a folder")
    return images_below(folder, findings)


def label_file(picture: Path, spec: DataSpec) -> Path:
    """``…/images/a/b.jpg`` -> ``…/labels/a/b.txt`` (the last ``images`` counts); beside the picture where there is
    none."""
    if spec.annotations is not None and spec.annotations.is_dir() and spec.images is not None:
        return (spec.annotations / picture.relative_to(spec.images)).with_suffix(".txt")
    parts = list(picture.parts)
    for position in reversed(range(len(parts) - 1)):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _unpaired(labels: Sequence[Path], findings: Findings) -> None:
    expected = set(labels)
    for folder in sorted({path.parent for path in labels}):
        for path in _texts(folder):
            if path not in expected and path.name not in ("classes.txt", "train.txt", "val.txt", "test.txt"):
                findings.warning("label-without-picture", path, "no picture of that name: left out")


def _texts(folder: Path) -> list[Path]:
    """Label files of a folder; none where it does not exist."""
    if not folder.is_dir():
        return []
    return files_below(folder, (".txt",), Findings(), deep=False)


def _common_folder(pictures: Sequence[Path]) -> Path:
    first, last = pictures[0].parent.parts, pictures[-1].parent.parts
    length = next(
        (index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    common = Path(*first[:length]) if length else Path()
    return common if all(path.is_relative_to(common) for path in pictures) else Path()


def _table(
    pictures: Sequence[Path], labels: Sequence[Path], common: Path, classes: ClassTable, findings: Findings
) -> RecordTable:
    parsed = [_parse(path, len(classes), findings) for path in labels]
    owner = np.repeat(np.arange(len(pictures)), [len(rows) for rows, _ in parsed])
    values = np.concatenate([np.zeros((0, 5)), *(rows for rows, _ in parsed)])
    lines = [number for _, numbers in parsed for number in numbers]

    def where(row: int) -> tuple[str, str]:
        return str(labels[owner[row]]), f"line {lines[row]}"

    centre, extent = values[:, 1:3], values[:, 3:5]
    return assemble(
        Parsed(
            root=common,
            names=[(path.relative_to(common) if path.is_relative_to(common) else path).as_posix() for path in pictures],
            image_ids=np.arange(1, len(pictures) + 1),
            sizes=np.zeros((len(pictures), 2), np.int64),
            owner=owner,
            labels=values[:, 0].astype(np.int64),
            bbox=np.concatenate([centre - extent / 2, extent], axis=1),
            crowd=np.zeros(len(values), np.bool_),
            shares=True,
        ),
        where,
        findings,
    )


def _parse(path: Path, classes: int, findings: Findings) -> tuple[np.ndarray, list[int]]:
    """(N, 5) class, cx, cy, w, h as shares, and the number of each line."""
    if not path.exists() and not path.is_symlink():
        return np.zeros((0, 5)), []  # nothing to see in this image; a link to nowhere is a fault
    try:
        lines = read_lines(path)
    except FileError as error:
        findings.error("bad-text", path, error.reason)
        return np.zeros((0, 5)), []
    rows, numbers = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line, classes, path, f"line {number}", findings)
        if row is not None:
            rows.append(row)
            numbers.append(number)
    return np.array(rows, np.float64).reshape(-1, 5), numbers


def _row(line: str, classes: int, path: Path, item: str, findings: Findings) -> list[float] | None:
    try:
        label, *numbers = (float(word) for word in line.split())
    except ValueError:
        findings.error("bad-annotation", path, f"{line.strip()!r:.60} must be numbers: class cx cy w h", item=item)
        return None
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        text = f"{len(numbers)} numbers after the class; a box has 4 (cx cy w h), a polygon an even number from 6"
        findings.error("bad-annotation", path, text, item=item)
        return None
    if not (label.is_integer() and 0 <= label < classes):
        findings.error(
            "unknown-category", path, f"class {label:g} must be a whole number from 0 to {classes - 1}", item=item
        )
        return None
    if any(not math.isfinite(value) or abs(value) > OVERHANG for value in numbers):
        text = f"{line.strip()!r:.60} must hold shares of the picture from 0 to 1, not pixels"
        findings.error("not-normalised", path, text, item=item)
        return None
    if len(numbers) > 4:
        xs, ys = numbers[::2], numbers[1::2]
        numbers = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]
    return [label, *numbers]
