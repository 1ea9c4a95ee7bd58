"""Repairing YOLO text labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from effdet.data.checks import Findings
from effdet.data.yolo_layout import keypoint_numbers, label_file, read_settings, split_images
from effdet.data.yolo_lines import holds_box
from effdet.doctor.reading import Split
from effdet.doctor.repair.places import Places
from effdet.doctor.repair.verdict import Verdict
from effdet.doctor.repair.yolo_settings import write_settings
from effdet.files import FileError, read_text, text_lines


@dataclass(frozen=True)
class _Labels:
    """What the lines of the set's label files mean."""

    names: list[str]
    kept: list[str]
    """`names`, each once."""
    keypoints: int


def repair_yolo(splits: Sequence[Split], verdict: Verdict, out: Path) -> None:
    """Links the images and writes the labels at the places that they have in the set, with a ``data.yaml``.

    A label file without faults is copied byte for byte; of another one the sound lines stay as they are written.
    """
    names = [str(name) for name in splits[0].source.classes.names]
    settings = read_settings(splits[0].spec)
    labels = _Labels(names, list(dict.fromkeys(names)), keypoint_numbers(splits[0].spec, settings))
    verdict.done["classes of one name joined"] += len(names) - len(labels.kept)
    places = Places(splits[0].spec.root, out)
    copies = {split.name: _copy(split, labels, verdict, places) for split in splits}
    written = {name: copied for name, (copied, _) in copies.items()}
    whole = [name for name, (_, complete) in copies.items() if complete]
    write_settings(splits[0].spec, settings, written, labels.kept, names == labels.kept, whole, places, verdict)
    places.count_others(verdict.done)


def _copy(split: Split, labels: _Labels, verdict: Verdict, places: Places) -> tuple[list[PurePosixPath], bool]:
    """The images and labels of a split; returns the places of the images, and whether all are there, at their own."""
    sides = {str(split.path(place)): str(side) for place, side in enumerate(split.sides.tolist())}
    if split.spec.limit is None:
        images = split_images(split.spec, read_settings(split.spec), Findings())
    else:
        images = [Path(path) for path in sides]
    common = os.path.commonpath([os.path.abspath(path.parent) for path in images])
    copied: list[PurePosixPath] = []
    for image in images:
        source = label_file(image, split.spec)
        places.use(image)
        places.use(source)
        if not verdict.keeps(image, sides.get(str(image), split.name)):
            continue
        if str(image) not in sides:
            verdict.done["pictures left out: unusable"] += 1
            continue
        try:
            content = _mended(source, labels, verdict) if source.is_file() or source.is_symlink() else None
        except FileError:
            # Without its labels the image would be learned as empty.
            verdict.done["pictures left out: labels that cannot be read"] += 1
            continue
        beside = source.with_suffix("") == image.with_suffix("")
        place = _claimed(image, split, os.path.relpath(image, common), places, beside=beside)
        if content is not None:
            places.write(place.with_suffix(".txt") if beside else _labels_of(place), content)
        places.link(image, place)
        copied.append(place)
    own = [places.inside(image) for image in images]
    return copied, copied == own


def _claimed(image: Path, split: Split, below: str, places: Places, *, beside: bool) -> PurePosixPath:
    """The place of an image: its own, or ``images/SPLIT/…`` for one from elsewhere.

    Labels that do not lie beside their image are found by its folder ``images``, which it then has in the copy too.
    """
    place = places.inside(image)
    if place is None:
        place = PurePosixPath("images", split.name, below)
    elif not beside and "images" not in place.parts[:-1]:
        place = PurePosixPath("images") / place
    return places.claim(image, place)


def _labels_of(place: PurePosixPath) -> PurePosixPath:
    parts = list(place.parts)
    at = max(index for index, part in enumerate(parts[:-1]) if part == "images")
    return PurePosixPath(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")


def _mended(source: Path, labels: _Labels, verdict: Verdict) -> bytes:
    """The content of a label file without its faulty lines, boxes clipped to the image.

    Raises:
        FileError: it is not text.
    """
    faulty = verdict.rows.get(str(source), frozenset())
    before = verdict.done.total()
    lines = []
    for number, line in enumerate(text_lines(read_text(source)), start=1):
        if line.strip() and number in faulty:
            verdict.done["objects left out"] += 1
        else:
            lines.append(_line(line, labels, verdict))
    changed = verdict.done.total() > before
    return "".join(f"{line}\n" for line in lines).encode() if changed else source.read_bytes()


def _line(line: str, labels: _Labels, verdict: Verdict) -> str:
    """A sound line, as it stands in the file but for a class that was joined, or a box that was clipped."""
    words = line.split()
    if not words:
        return line
    label = int(float(words[0]))
    joined = labels.kept.index(labels.names[label])
    if joined != label:
        verdict.done["labels renumbered"] += 1
    values = [float(word) for word in words[1:5]]
    # Whatever follows a box of cx cy w h, keypoints or a confidence, stays; a polygon is not clipped.
    clipped = _clipped(values, verdict) if holds_box(len(words) - 1, labels.keypoints) else values
    if joined == label and clipped == values:
        return line
    shares = words[1:5] if clipped == values else [f"{value:.10g}" for value in clipped]
    return " ".join([str(joined), *shares, *words[5:]])


def _clipped(values: list[float], verdict: Verdict) -> list[float]:
    """cx, cy, w, h inside 0…1; a thousandth of overhang is rounding, and stays."""
    x, y, width, height = values
    edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if min(edges) >= -1e-3 and max(edges) <= 1 + 1e-3:
        return values
    verdict.done["boxes clipped"] += 1
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
