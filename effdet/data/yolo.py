"""YOLO txt: one ``labels/…/NAME.txt`` for each ``images/…/NAME.jpg``, with a line for each object.

A line holds the number of the class, counted from 0, then shares of the image's width and height:

| numbers after the class | what |
|---|---|
| 4 | box: cx cy w h |
| 5 | box and confidence, as prediction tools write it |
| 4 + K · D, with ``kpt_shape: [K, D]`` in ``data.yaml`` | box and keypoints (one more: and confidence) |
| 6, 8, 10, …, without ``kpt_shape`` | polygon: x y of each corner; 8 are a rotated box |

An image without a label file holds nothing. Where splits and class names stand: :mod:`effdet.data.yolo_layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from effdet.data.boxes import Boxes, assemble
from effdet.data.checks import DataError, Findings
from effdet.data.listing import files_below, relative_names
from effdet.data.records import Dataset, RecordTable
from effdet.data.spec import DataSpec
from effdet.data.yolo_layout import class_names, keypoint_numbers, label_file, read_settings, split_images
from effdet.files import FileError, read_lines
from heads.structures import ClassTable

OVERHANG = 2.0
"""A share beyond this is a number in pixels, not a box that leaves its image."""


def holds_box(count: int, keypoints: int) -> bool:
    """Whether a line with `count` numbers after the class begins with cx cy w h, and is not a polygon."""
    return count in (4, 5, 4 + keypoints, 5 + keypoints)


def parse_line(
    line: str, path: Path, item: str, findings: Findings, *, classes: int, keypoints: int
) -> list[float] | None:
    """Class, cx, cy, w, h as shares; None for a faulty line, whose fault is noted.

    Args:
        line: as it stands in the file.
        path: the file, and
        item: the line's name, for findings.
        findings: takes what is wrong, and a confidence that is left aside.
        classes: how many there are.
        keypoints: numbers that keypoints take after the box; 0 in a set without them.
    """
    try:
        label, *numbers = (float(text) for text in line.split())
    except ValueError:
        findings.error("bad-annotation", path, f"{line.strip()!r:.60} must be numbers: class cx cy w h", item=item)
        return None
    box = holds_box(len(numbers), keypoints)
    polygon = not box and not keypoints and len(numbers) >= 6 and len(numbers) % 2 == 0
    confidence = numbers[-1] if box and len(numbers) not in (4, 4 + keypoints) else None
    if not (box or polygon) or (confidence is not None and not 0 <= confidence <= 1):
        findings.error("bad-annotation", path, _wrong_count(len(numbers), keypoints), item=item)
        return None
    if not (label.is_integer() and 0 <= label < classes):
        text = f"class {label:g} must be a whole number from 0 to {classes - 1}"
        findings.error("unknown-category", path, text, item=item)
        return None
    shares = numbers[:4] if box else numbers
    if any(not math.isfinite(value) or abs(value) > OVERHANG for value in shares):
        text = f"{line.strip()!r:.60} must hold shares of the image from 0 to 1, not pixels"
        findings.error("not-normalised", path, text, item=item)
        return None
    if confidence is not None:
        findings.warning("label-confidence", path, f"ends with the confidence {confidence:g}: left aside", item=item)
    if polygon:
        xs, ys = shares[::2], shares[1::2]
        shares = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]
    return [label, *shares]


def _wrong_count(count: int, keypoints: int) -> str:
    if keypoints:
        return (
            f"{count} numbers after the class; a box has 4 (cx cy w h), with the keypoints of kpt_shape {4 + keypoints}"
        )
    text = f"{count} numbers after the class; a box has 4 (cx cy w h), a polygon an even number from 6"
    return f"{text}; keypoints need kpt_shape in data.yaml" if count > 6 else text


FILES = (".yaml", ".yml", ".data", ".txt")
"""Files that ``data.SPLIT_annotations`` may name: the set's settings, or a list of images."""


def open_yolo(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of a YOLO set that `spec` names."""
    passed = spec.annotations
    if passed is not None and not passed.is_dir() and not (passed.is_file() and passed.suffix.lower() in FILES):
        key = spec.key("annotations")
        raise DataError(
            f"{spec.title}: {key}={passed} must be a folder of label files, a data.yaml, or a .txt list of images"
        )
    settings = read_settings(spec)
    names = class_names(spec, settings, findings)
    keypoints = keypoint_numbers(spec, settings)
    images = split_images(spec, settings, findings)
    if not images:
        raise spec.lacks_split(f"image of split {spec.file_split}", images="DIR")
    common = _common_dir(images)
    labels = [label_file(path, spec) for path in images]
    if not any(path.is_file() for path in labels):
        text = (
            f"none of {len(labels)} images has a label file, such as {labels[0].name}: "
            f"name their folder with {spec.key('annotations')}=DIR"
        )
        findings.error("no-labels", labels[0].parent, text)
    _unpaired(labels, findings)
    classes = ClassTable.of(names, first_id=0)
    table = _table(images, labels, common, classes, keypoints, findings)
    return Dataset(table, classes, name=spec.name, split=spec.split)


def _unpaired(labels: Sequence[Path], findings: Findings) -> None:
    expected = set(labels)
    for directory in sorted({path.parent for path in labels if path.parent.is_dir()}):
        for path in files_below(directory, (".txt",), Findings(), deep=False):
            if path not in expected and path.name not in ("classes.txt", "train.txt", "val.txt", "test.txt"):
                findings.warning("label-without-image", path, "no image of that name: left out")


def _common_dir(images: Sequence[Path]) -> Path:
    first, last = images[0].parent.parts, images[-1].parent.parts
    length = next(
        (index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    common = Path(*first[:length]) if length else Path()
    return common if all(path.is_relative_to(common) for path in images) else Path()


def _table(
    images: Sequence[Path],
    labels: Sequence[Path],
    common: Path,
    classes: ClassTable,
    keypoints: int,
    findings: Findings,
) -> RecordTable:
    parsed = [_parse(path, len(classes), keypoints, findings) for path in labels]
    owner = np.repeat(np.arange(len(images)), [len(rows) for rows, _ in parsed])
    values = np.concatenate([np.zeros((0, 5)), *(rows for rows, _ in parsed)])
    lines = [number for _, numbers in parsed for number in numbers]

    def where(row: int) -> tuple[str, str]:
        return str(labels[owner[row]]), f"line {lines[row]}"

    centre, extent = values[:, 1:3], values[:, 3:5]
    boxes = Boxes(owner, values[:, 0].astype(np.int64), np.concatenate([centre - extent / 2, extent], axis=1))
    return assemble(common, relative_names(images, common), boxes, where, findings, shares=True)


def _parse(path: Path, classes: int, keypoints: int, findings: Findings) -> tuple[np.ndarray, list[int]]:
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
        row = parse_line(line, path, f"line {number}", findings, classes=classes, keypoints=keypoints)
        if row is not None:
            rows.append(row)
            numbers.append(number)
    return np.array(rows, np.float64).reshape(-1, 5), numbers
