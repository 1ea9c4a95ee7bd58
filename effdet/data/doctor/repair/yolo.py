"""Repairing YOLO text labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effdet.data.doctor.reading import Split
from effdet.data.doctor.repair.verdict import Verdict, link
from effdet.data.spec import SPLIT_FOLDERS
from effdet.data.yolo_layout import Settings, keypoint_numbers, label_file, read_settings
from effdet.data.yolo_lines import holds_box
from effdet.files import FileError, decode_name, read_lines, read_text


def repair_yolo(splits: Sequence[Split], verdict: Verdict, out: Path) -> None:
    """Writes ``labels/SPLIT/``, linked ``images/SPLIT/`` and ``data.yaml``."""
    names = [str(name) for name in splits[0].source.classes.names]
    kept = list(dict.fromkeys(names))
    settings = read_settings(splits[0].spec)
    keypoints = keypoint_numbers(splits[0].spec, settings)
    verdict.done["classes of one name joined"] += len(names) - len(kept)
    for split in splits:
        records = split.source.records
        for place, side in enumerate(split.sides.tolist()):
            picture, name = split.path(place), decode_name(records.file_names[place])
            if not verdict.keeps(picture, str(side)):
                continue
            # Of "images/train/a/b.jpg" what follows the split; a flat name else.
            below = name.rpartition(f"{split.name}/")[2]
            link(picture, out / "images" / split.name / below)
            source = label_file(picture, split.spec)
            target = (out / "labels" / split.name / below).with_suffix(".txt")
            target.parent.mkdir(parents=True, exist_ok=True)
            before = verdict.done.total()
            lines = _lines(source, names, kept, keypoints, verdict) if source.is_file() else []
            if source.is_file() and verdict.done.total() == before:
                target.write_bytes(source.read_bytes())
            else:
                target.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    _write_settings(out, [split.name for split in splits], kept, settings)


def _lines(source: Path, names: list[str], kept: list[str], keypoints: int, verdict: Verdict) -> list[str]:
    """The sound lines, as they stand in the file but for a class that was joined, or a box that was clipped."""
    faulty = verdict.rows.get(str(source), frozenset())
    try:
        written = read_lines(source)
    except FileError:
        verdict.done["label files left out: unreadable"] += 1  # noted; the image stays, without objects
        return []
    lines = []
    for number, line in enumerate(written, start=1):
        if not line.strip():
            continue
        if number in faulty:
            verdict.done["objects left out"] += 1
            continue
        words = line.split()
        label = int(float(words[0]))
        joined = kept.index(names[label])
        if joined != label:
            verdict.done["labels renumbered"] += 1
        values = [float(word) for word in words[1:5]]
        # Whatever follows a box of cx cy w h, keypoints or a confidence, stays; a polygon is not clipped.
        clipped = _clipped(values, verdict) if holds_box(len(words) - 1, keypoints) else values
        if joined == label and clipped == values:
            lines.append(line)
        else:
            shares = words[1:5] if clipped == values else [f"{value:.10g}" for value in clipped]
            lines.append(" ".join([str(joined), *shares, *words[5:]]))
    return lines


def _clipped(values: list[float], verdict: Verdict) -> list[float]:
    """cx, cy, w, h inside 0…1; a thousandth of overhang is rounding, and stays."""
    x, y, width, height = values
    edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if min(edges) >= -1e-3 and max(edges) <= 1 + 1e-3:
        return values
    verdict.done["boxes clipped"] += 1
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _write_settings(out: Path, splits: list[str], names: list[str], settings: Settings) -> None:
    """Writes ``data.yaml`` with the new paths and names; other keys, such as ``kpt_shape``, stay as they were."""
    import yaml

    others: dict[str, Any] = {}
    if settings.file is not None and settings.file.suffix.lower() in (".yaml", ".yml"):
        try:
            others = yaml.safe_load(read_text(settings.file))
        except yaml.YAMLError:  # a scalar that has no value of its type: texts serve
            others = settings.values
    replaced = {"path", "names", "nc", "download", *(name for every in SPLIT_FOLDERS.values() for name in every)}
    content = {key: value for key, value in others.items() if str(key) not in replaced}
    content |= {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(names))}
    (out / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
