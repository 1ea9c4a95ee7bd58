"""Repairing YOLO text labels and their ``data.yaml``."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from effdet.data.checks import Findings
from effdet.data.spec import SPLIT_DIRS, DataSpec
from effdet.data.yolo import holds_box
from effdet.data.yolo_layout import YAMLS, Settings, keypoint_numbers, label_file, read_settings, split_images
from effdet.doctor.reading import Split
from effdet.doctor.repair.plan import RepairPlan
from effdet.files import FileError, read_text, text_lines

NAME_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")
SPLIT_OF = {name: split for split, names in SPLIT_DIRS.items() for name in names}
Written = Mapping[str, Sequence[PurePosixPath]]
"""Split -> places of its images."""


@dataclass(frozen=True)
class _Labels:
    """What the lines of the set's label files mean."""

    names: list[str]
    kept: list[str]
    """`names`, each once."""
    keypoints: int


def write_settings(
    spec: DataSpec,
    settings: Settings,
    written: Written,
    labels: _Labels,
    whole: Collection[str],
    plan: RepairPlan,
) -> None:
    """Writes ``data.yaml``, the lists that it names, and the set's own list of names where that is still true.

    Args:
        spec, settings, labels: of the set.
        written: images of the copy.
        whole: splits of which every image is in the copy, at its own place.
        plan: takes the files, and images that no list can name.
    """
    import yaml

    same_names = labels.names == labels.kept
    for path in () if spec.root is None else [spec.root / name for name in NAME_LISTS]:
        if path.is_file() and (place := plan.copy.inside(path)) is not None:
            plan.copy.use(path)
            if same_names:
                plan.copy.write(place, path.read_bytes())
    is_yaml = settings.file is not None and settings.file.suffix.lower() in (".yaml", ".yml")
    others: dict[str, Any] = {}
    if settings.file is not None:
        plan.copy.use(settings.file)
    if settings.file is not None and is_yaml:
        place = plan.copy.inside(settings.file)
        own = _own_files(settings.values, written, whole, plan) if same_names and spec.classes is None else None
        if own is not None and place is not None:
            for file in (settings.file, *own):
                plan.copy.use(file)
                plan.copy.write(plan.copy.inside(file) or place, file.read_bytes())
            return
        try:
            others = yaml.safe_load(read_text(settings.file))
        except yaml.YAMLError:  # a scalar that has no value of its type: texts serve
            others = settings.values
    entries = {split: _entries(split, written, plan) for split in written if written[split]}
    replaced = {"path", "names", "nc", "download", *SPLIT_OF}
    content = {key: value for key, value in others.items() if str(key) not in replaced}
    content |= entries | {"names": dict(enumerate(labels.kept))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    plan.copy.write(PurePosixPath(YAMLS[0]), text.encode("utf-8", "backslashreplace"))


def _entries(split: str, written: Written, plan: RepairPlan) -> str | list[str]:
    """What ``data.yaml`` says of a split: the folders that hold its images and no other's, else a list file."""
    directories = sorted({str(place.parent) for place in written[split]})
    top = os.path.commonpath(directories)
    others = [str(place) for other in written if other != split for place in written[other]]
    for choice in (directories if len(directories) <= 8 else [], [top]):
        mine = [directory for directory in choice if not any(directory.startswith(f"{above}/") for above in choice)]
        usable = mine and "." not in mine and "" not in mine
        if usable and not any(place.startswith(f"{directory}/") for place in others for directory in mine):
            return mine[0] if len(mine) == 1 else mine
    lines = []
    for place in written[split]:
        if str(place).isprintable():
            lines.append(f"./{place}\n")
        else:
            plan.done["images left out: names that a list cannot hold"] += 1
    plan.copy.write(PurePosixPath(f"{split}.txt"), "".join(lines).encode())
    return f"{split}.txt"


def _own_files(
    values: Mapping[str, Any], written: Written, whole: Collection[str], plan: RepairPlan
) -> list[Path] | None:
    """The lists that the set's settings name, if settings and lists hold of the copy as they are; else None.

    They do where all paths lead into the set: folders lead to what is left of them, lists if nothing was left out.
    """
    plain = values.get("path") in (None, "", ".", "./") and isinstance(values.get("names") or [], (list, dict))
    if plan.copy.root is None or not plain:
        return None
    stated = {SPLIT_OF[key]: values[key] for key in SPLIT_OF if values.get(key)}
    if not set(written) <= set(stated) <= {*written, "test"}:
        return None
    lists = []
    for split in written:
        for entry in stated[split] if isinstance(stated[split], list) else [stated[split]]:
            path = plan.copy.root / str(entry).removeprefix("../")
            if path.is_file():
                lines = read_text(path)
                if split not in whole or ".." in lines or any(line.startswith("/") for line in text_lines(lines)):
                    return None
                lists.append(path)
            elif not path.is_dir() or plan.copy.inside(path) is None:
                return None
    return lists


def repair_yolo(splits: Sequence[Split], plan: RepairPlan) -> None:
    """Links the images and writes the labels at the places that they have in the set, with a ``data.yaml``.

    A label file without faults is copied byte for byte; of another one the valid lines stay as they are written.
    """
    names = [str(name) for name in splits[0].source.classes.names]
    settings = read_settings(splits[0].spec)
    labels = _Labels(names, list(dict.fromkeys(names)), keypoint_numbers(splits[0].spec, settings))
    plan.done["classes of one name joined"] += len(names) - len(labels.kept)
    copies = {split.name: _copy(split, labels, plan) for split in splits}
    written = {name: copied for name, (copied, _) in copies.items()}
    whole = [name for name, (_, complete) in copies.items() if complete]
    write_settings(splits[0].spec, settings, written, labels, whole, plan)


def _copy(split: Split, labels: _Labels, plan: RepairPlan) -> tuple[list[PurePosixPath], bool]:
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
        plan.copy.use(image)
        plan.copy.use(source)
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
        place = _claimed(image, split, os.path.relpath(image, common), plan, beside=beside)
        if content is not None:
            plan.copy.write(place.with_suffix(".txt") if beside else _labels_of(place), content)
        plan.copy.link(image, place)
        copied.append(place)
    own = [plan.copy.inside(image) for image in images]
    return copied, copied == own


def _claimed(image: Path, split: Split, below: str, plan: RepairPlan, *, beside: bool) -> PurePosixPath:
    """The place of an image: its own, or ``images/SPLIT/…`` for one from elsewhere.

    Labels that do not lie beside their image are found by its folder ``images``, which it then has in the copy too.
    """
    place = plan.copy.inside(image)
    if place is None:
        place = PurePosixPath("images", split.name, below)
    elif not beside and "images" not in place.parts[:-1]:
        place = PurePosixPath("images") / place
    return plan.copy.claim(image, place)


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
