"""Repairing YOLO text labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from effdet.data.doctor.reading import Split
from effdet.data.doctor.repair.verdict import Verdict, link
from effdet.data.yolo import label_file
from effdet.files import decode_name


def repair_yolo(splits: Sequence[Split], verdict: Verdict, out: Path) -> None:
    """Writes ``labels/SPLIT/``, linked ``images/SPLIT/`` and ``data.yaml``."""
    names = [str(name) for name in splits[0].source.classes.names]
    kept = list(dict.fromkeys(names))
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
            lines = _lines(source, names, kept, verdict) if source.is_file() else []
            target.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    _write_settings(out, [split.name for split in splits], kept)


def _lines(source: Path, names: list[str], kept: list[str], verdict: Verdict) -> list[str]:
    faulty = verdict.rows.get(str(source), frozenset())
    try:
        written = source.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []  # noted; the picture stays, without objects
    lines = []
    for number, line in enumerate(written, start=1):
        if not line.strip():
            continue
        if number in faulty:
            verdict.done["objects left out"] += 1
            continue
        label, *rest = line.split()
        values = [float(value) for value in rest]
        if len(values) == 4:
            values = _clipped(values, verdict)
        lines.append(" ".join([str(kept.index(names[int(float(label))])), *(f"{value:.10g}" for value in values)]))
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


def _write_settings(out: Path, splits: list[str], names: list[str]) -> None:
    import yaml

    content = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(names))}
    (out / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
