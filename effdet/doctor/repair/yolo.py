"""Repairing YOLO text labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from effdet.data.checks import Findings
from effdet.data.yolo import holds_box
from effdet.data.yolo_layout import keypoint_numbers, label_file, read_settings, split_images
from effdet.doctor.reading import Split
from effdet.doctor.repair.copy_layout import CopyLayout
from effdet.doctor.repair.repair_plan import RepairPlan
from effdet.doctor.repair.yolo_settings import write_settings
from effdet.files import FileError, read_text, text_lines


@dataclass(frozen=True)
class _Labels:
    """What the lines of the set's label files mean."""

    names: list[str]
    kept: list[str]
    """`names`, each once."""
    keypoints: int


def repair_yolo(splits: Sequence[Split], plan: RepairPlan, out: Path) -> None:
    """Links the images and writes the labels at the places that they have in the set, with a ``data.yaml``.

    A label file without faults is copied byte for byte; of another one the valid lines stay as they are written.
    """
    names = [str(name) for name in splits[0].source.classes.names]
    settings = read_settings(splits[0].spec)
    labels = _Labels(names, list(dict.fromkeys(names)), keypoint_numbers(splits[0].spec, settings))
    plan.done["classes of one name joined"] += len(names) - len(labels.kept)
    copy_layout = CopyLayout(splits[0].spec.root, out)
    copies = {split.name: _copy(split, labels, plan, copy_layout) for split in splits}
    written = {name: copied for name, (copied, _) in copies.items()}
    whole = [name for name, (_, complete) in copies.items() if complete]
    write_settings(splits[0].spec, settings, written, labels.kept, names == labels.kept, whole, copy_layout, plan)
    copy_layout.count_others(plan.done)


def _copy(split: Split, labels: _Labels, plan: RepairPlan, copy_layout: CopyLayout) -> tuple[list[PurePosixPath], bool]:
    """The images and labels of a split; returns the places of the images, and whether all are there, at their own."""
    sides = {str(split.path(place)): str(side) for place, side in enumerate(split.sides.tolist())}
    if split.spec.max_images is None:
        images = split_images(split.spec, read_settings(split.spec), Findings())
    else:
        images = [Path(path) for path in sides]
    common = os.path.commonpath([os.path.abspath(path.parent) for path in images])
    copied: list[PurePosixPath] = []
    for image in images:
        source = label_file(image, split.spec)
        copy_layout.use(image)
        copy_layout.use(source)
        if not plan.keeps(image, sides.get(str(image), split.name)):
            continue
        if str(image) not in sides:
            plan.done["images left out: unusable"] += 1
            continue
        try:
            content = _mended(source, labels, plan) if source.is_file() or source.is_symlink() else None
        except FileError:
            # Without its labels the image would be learned as empty.
            plan.done["images left out: labels that cannot be read"] += 1
            continue
        beside = source.with_suffix("") == image.with_suffix("")
        place = _claimed(image, split, os.path.relpath(image, common), copy_layout, beside=beside)
        if content is not None:
            copy_layout.write(place.with_suffix(".txt") if beside else _labels_of(place), content)
        copy_layout.link(image, place)
        copied.append(place)
    own = [copy_layout.inside(image) for image in images]
    return copied, copied == own


def _claimed(image: Path, split: Split, below: str, copy_layout: CopyLayout, *, beside: bool) -> PurePosixPath:
    """The place of an image: its own, or ``images/SPLIT/…`` for one from elsewhere.

    Labels that do not lie beside their image are found by its folder ``images``, which it then has in the copy too.
    """
    place = copy_layout.inside(image)
    if place is None:
        place = PurePosixPath("images", split.name, below)
    elif not beside and "images" not in place.parts[:-1]:
        place = PurePosixPath("images") / place
    return copy_layout.claim(image, place)


def _labels_of(place: PurePosixPath) -> PurePosixPath:
    parts = list(place.parts)
    at = max(index for index, part in enumerate(parts[:-1]) if part == "images")
    return PurePosixPath(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")


def _mended(source: Path, labels: _Labels, plan: RepairPlan) -> bytes:
    """The content of a label file without its faulty lines, boxes clipped to the image.

    Raises:
        FileError: it is not text.
    """
    faulty = plan.rows.get(str(source), frozenset())
    before = plan.done.total()
    lines = []
    for number, line in enumerate(text_lines(read_text(source)), start=1):
        if line.strip() and number in faulty:
            plan.done["objects left out"] += 1
        else:
            lines.append(_line(line, labels, plan))
    changed = plan.done.total() > before
    return "".join(f"{line}\n" for line in lines).encode() if changed else source.read_bytes()


def _line(line: str, labels: _Labels, plan: RepairPlan) -> str:
    """A valid line, as it stands in the file but for a class that was joined, or a box that was clipped."""
    fields = line.split()
    if not fields:
        return line
    label = int(float(fields[0]))
    joined = labels.kept.index(labels.names[label])
    if joined != label:
        plan.done["labels renumbered"] += 1
    values = [float(field) for field in fields[1:5]]
    # Whatever follows a box of cx cy w h, keypoints or a confidence, stays; a polygon is not clipped.
    clipped = _clipped(values, plan) if holds_box(len(fields) - 1, labels.keypoints) else values
    if joined == label and clipped == values:
        return line
    shares = fields[1:5] if clipped == values else [f"{value:.10g}" for value in clipped]
    return " ".join([str(joined), *shares, *fields[5:]])


def _clipped(values: list[float], plan: RepairPlan) -> list[float]:
    """cx, cy, w, h inside 0…1; a thousandth of overhang is rounding, and stays."""
    x, y, width, height = values
    edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if min(edges) >= -1e-3 and max(edges) <= 1 + 1e-3:
        return values
    plan.done["boxes clipped"] += 1
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
