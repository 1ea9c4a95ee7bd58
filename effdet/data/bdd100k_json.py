"""BDD100K's detection files: a list of frames, each with ``labels`` of ``category`` and ``box2d`` (Scalabel's form).

Corners are pixels that belong to the object, so that the box of x1 … x2 is x2 - x1 + 1 wide, as in the owners' own
conversion to COCO's form. Their table (``configs/det.toml``) also joins the first release's names to today's, and counts
three categories as neither found nor missed: here they are crowds, like what is marked ``crowd``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.checks import Findings
from effdet.data.parsed_cache import Arrays, cached_arrays
from effdet.data.records import encode_names
from effdet.files import FileError, decode_name, read_json
from effdet.files.scalars import flag, number, truth
from heads.structures import ClassTable

CLASSES = ClassTable.of(
    (
        *("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
        *("traffic light", "traffic sign"),
    )
)
RENAMED = {"person": "pedestrian", "bike": "bicycle", "motor": "motorcycle", "caravan": "car", "van": "car"}
IGNORED = {"other person": "pedestrian", "other vehicle": "car", "trailer": "truck"}
"""Categories that evaluation ignores, and the class under which it does."""
WITHOUT_BOX = ("drivable area", "lane")
"""Of the first release, whose files also hold polygons."""
CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, eq=False)
class Frames:
    """P images with N boxes."""

    names: Sequence[str]
    """Sorted."""
    owner: np.ndarray
    """(N,) int64."""
    labels: np.ndarray
    """(N,) int64; -1 for a box to be left out, whose reason is noted."""
    bbox: np.ndarray
    """(N, 4) float64 xywh, original pixels."""
    crowd: np.ndarray
    """(N,) bool."""


def parse_frames(path: Path, findings: Findings) -> Frames:
    """Reads a detection file; large ones come from the cache after the first time."""

    def parse() -> tuple[Arrays, bool]:
        before = len(findings.items)
        arrays = _arrays(path, findings)
        return arrays, len(findings.items) == before

    arrays = cached_arrays(path, parse)
    names = [decode_name(name) for name in arrays.pop("names").tolist()]
    return Frames(names, **arrays)


def _arrays(path: Path, findings: Findings) -> Arrays:
    try:
        content = read_json(path)
    except FileError as error:
        findings.error("bad-json", path, error.reason)
        content = []
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list):
        findings.error("bad-json", path, "must be a list of frames")
        frames = []
    named = {}
    for place, frame in enumerate(frames):
        name = frame.get("name") if isinstance(frame, dict) else None
        if not isinstance(name, str) or name in named:
            text = "needs a name" if not isinstance(name, str) else f"{name} is listed twice"
            findings.error("bad-frame", path, text, item=f"frame {place}")
            continue
        named[name] = frame
    names = sorted(named)
    rows: list[tuple[int, int, float, float, float, float, bool]] = []
    for owner, name in enumerate(names):
        for place, label in enumerate(named[name].get("labels") or ()):
            row = _row(label, path, f"{name}, label {place}", findings)
            if row is not None:
                rows.append((owner, *row))
    values = np.array(rows, np.float64).reshape(-1, 7)
    return {
        "names": encode_names(names),
        "owner": values[:, 0].astype(np.int64),
        "labels": values[:, 1].astype(np.int64),
        "bbox": values[:, 2:6],
        "crowd": values[:, 6].astype(bool),
    }


def _row(label: Any, path: Path, item: str, findings: Findings) -> tuple[int, float, float, float, float, bool] | None:
    """label, x, y, width, height, crowd of an entry; None for what has no box."""
    category = label.get("category") if isinstance(label, dict) else None
    if not isinstance(category, str):
        findings.error("bad-annotation", path, "needs a category", item=item)
        return None
    box = label.get("box2d")
    if box is None:
        if category not in WITHOUT_BOX:
            findings.warning("no-box", path, f"{category} without a box2d: left out", item=item)
        return None
    name = RENAMED.get(category, IGNORED.get(category, category))
    if name not in CLASSES.names:
        findings.error("unknown-category", path, f"category {category!r} is not among BDD100K's", item=item)
        return None
    corners = [number(box.get(corner)) if isinstance(box, dict) else None for corner in CORNERS]
    x1, y1, x2, y2 = (math.nan if corner is None else float(corner) for corner in corners)
    if None in corners:
        findings.error("bad-annotation", path, "box2d needs the numbers x1, y1, x2, y2", item=item)
        return None
    attributes = label.get("attributes")
    marked = attributes.get("crowd") if isinstance(attributes, dict) else None
    if truth(marked) is None:
        findings.warning("bad-crowd", path, f"crowd is {marked!r:.40}: read as {int(flag(marked))}", item=item)
    crowd = category in IGNORED or flag(marked)
    return CLASSES.names.index(name), x1, y1, x2 - x1 + 1, y2 - y1 + 1, crowd
