"""The checks that every reader's boxes and images go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from effdet.data.checks import DataError, Findings, missing
from effdet.data.images import image_sizes
from effdet.data.records import RecordTable, encode_names

HEADERS_CHECKED = 20_000
"""Sets of up to this many images have every header read when they are opened (0.1 ms each)."""


SMALLEST = 0.01
"""Pixels: a thinner box has no area to speak of (and none at all after rounding to float32)."""
LARGEST = 1e9
"""Pixels: a coordinate beyond is not a place in any image."""
Where = Callable[[int], tuple[str, str]]
"""Row of a box -> (the file that holds it, what it is called there)."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """The N boxes of a split as a reader found them, not yet checked against their images."""

    owner: np.ndarray
    """(N,) int64 position of each box's image, or -1 for a box to be left out (its reader has noted why)."""
    labels: np.ndarray
    """(N,) int64 in 0…K-1, or -1 likewise."""
    bbox: np.ndarray
    """(N, 4) float64 xywh, original pixels, or shares of the image."""
    crowd: np.ndarray | None = None
    """(N,) bool; None for no crowds."""
    area: np.ndarray | None = None
    """(N,) float64; the box's own where it is None or not positive."""
    annotation_ids: np.ndarray | None = None
    """(N,) int64; None numbers the boxes that are kept."""
    segments: np.ndarray | None = None
    """(N,) int64 of :attr:`RecordTable.segments`."""

    @classmethod
    def none(cls) -> Self:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))


def assemble(
    root: Path,
    names: Sequence[str],
    boxes: Boxes,
    where: Where,
    findings: Findings,
    *,
    sizes: np.ndarray | None = None,
    image_ids: np.ndarray | None = None,
    paths: Sequence[str] | None = None,
    shares: bool = False,
    in_memory: bool = False,
) -> RecordTable:
    """Checks images and boxes, and keeps the valid ones, ordered by image.

    Args:
        root: folder to which `names` or `paths` count.
        names: (P,) images as the set writes them, sorted by `image_ids`.
        boxes: of the images.
        where: names a box by its row.
        findings: takes what is wrong.
        sizes: (P, 2) height, width; zeros, or None, where the set states none.
        image_ids: (P,) int64; None counts from 1.
        paths: (P,) where the images lie relative to `root`, if not where their names say.
        shares: `boxes` are shares of the image.
        in_memory: the images are not files, and `sizes` are those of all.
    """
    relative = names if paths is None else paths
    files = [root / path for path in relative]
    sizes = np.zeros((len(files), 2), np.int64) if sizes is None else np.asarray(sizes, np.int64).reshape(-1, 2)
    usable = np.ones(len(files), np.bool_)
    if not in_memory:
        usable, sizes = check_images(files, sizes, findings=findings)
    known = np.flatnonzero((boxes.owner >= 0) & (boxes.labels >= 0))
    known = known[usable[boxes.owner[known]]]
    bbox = boxes.bbox * sizes[boxes.owner][:, [1, 0, 1, 0]] if shares else boxes.bbox
    valid = valid_boxes(
        bbox[known],
        sizes[boxes.owner[known]],
        lambda row: where(int(known[row])),
        findings,
        image=lambda row: files[int(boxes.owner[known[row]])],
    )
    rows = known[valid]
    rows = rows[np.argsort(boxes.owner[rows], kind="stable")]
    findings.where = lambda row: where(int(rows[row]))
    own_area = bbox[rows, 2] * bbox[rows, 3]
    counts = np.bincount(boxes.owner[rows], minlength=len(files))
    table = RecordTable(
        root=root,
        image_ids=np.arange(1, len(files) + 1) if image_ids is None else np.asarray(image_ids, np.int64),
        file_names=encode_names(names),
        paths=encode_names(relative),
        sizes=sizes,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        bbox=bbox[rows],
        labels=boxes.labels[rows].astype(np.int64),
        crowd=np.zeros(len(rows), np.bool_) if boxes.crowd is None else boxes.crowd[rows],
        area=own_area if boxes.area is None else np.where(boxes.area[rows] > 0, boxes.area[rows], own_area),
        annotation_ids=np.arange(1, len(rows) + 1) if boxes.annotation_ids is None else boxes.annotation_ids[rows],
        segments=None if boxes.segments is None else boxes.segments[rows],
    )
    return table if usable.all() else table.subset(np.flatnonzero(usable))


def category_table(
    root: Path,
    names: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    findings: Findings,
    *,
    sizes: np.ndarray | None = None,
    paths: Sequence[str] | None = None,
) -> RecordTable:
    """Records of a set that labels whole images and no boxes; image ids count up from 1.

    Args:
        root, names, findings, paths: as for :func:`assemble`.
        labels: (P,) in 0…K-1.
        sizes: (P, 2) int64 height, width of images that are not files; None for files, which are checked.
    """
    none = Boxes.none()
    in_memory = sizes is not None
    table = assemble(root, names, none, lambda _: ("", ""), findings, sizes=sizes, paths=paths, in_memory=in_memory)
    kept = table.image_ids - 1
    return replace(table, categories=np.array(labels, np.int64)[kept], has_boxes=np.zeros(len(kept), np.bool_))


def valid_boxes(
    bbox: np.ndarray,
    sizes: np.ndarray,
    where: Where,
    findings: Findings,
    *,
    image: Callable[[int], Path] | None = None,
) -> np.ndarray:
    """Which boxes have any area inside their image; the others are noted, and so are those that must be clipped.

    Args:
        bbox: (N, 4) float64 xywh, original pixels.
        sizes: (N, 2) height and width of each box's image.
        where, findings: as for :func:`assemble`.
        image: the image of a box, for those who draw it.

    Returns:
        (N,) bool.
    """
    finite: np.ndarray = np.all(np.abs(bbox) < LARGEST, axis=1)
    values = np.where(finite[:, None], bbox, 0)
    x1, y1, width, height = values.T
    limit_y, limit_x = sizes.T
    inside_x = np.minimum(x1 + width, limit_x) - np.maximum(x1, 0)
    inside_y = np.minimum(y1 + height, limit_y) - np.maximum(y1, 0)
    flat, outside = np.minimum(width, height) < SMALLEST, np.minimum(inside_x, inside_y) < SMALLEST
    # A pixel of overhang is rounding, not a fault: tools differ in whether they count pixels or edges.
    hanging = (x1 < -1) | (y1 < -1) | (x1 + width > limit_x + 1) | (y1 + height > limit_y + 1)
    for row in np.flatnonzero(~finite | flat | outside | hanging).tolist():
        file, item = where(int(row))
        shown = "[" + ", ".join(f"{value:.6g}" for value in bbox[row]) + "]"
        drawn = {"box": tuple(bbox[row].tolist()), "image": "" if image is None else str(image(int(row)))}
        size = f"{limit_x[row]}×{limit_y[row]} image"
        if not finite[row]:
            text = f"box {shown} has a number that is not finite, or absurd"
            findings.error("bad-number", file, text, item=item, image=drawn["image"])
        elif flat[row]:
            negative = width[row] < 0 or height[row] < 0
            kind, what = ("negative-area", "negative") if negative else ("zero-area", "no")
            findings.warning(kind, file, f"box {shown} (x y w h) has {what} area: left out", item=item, **drawn)
        elif outside[row]:
            text = f"box {shown} (x y w h) lies outside its {size}: left out"
            findings.warning("outside-image", file, text, item=item, **drawn)
        else:
            text = f"box {shown} (x y w h) leaves its {size}: clipped"
            findings.warning("out-of-range", file, text, item=item, **drawn)
    return finite & ~flat & ~outside


def check_images(paths: Sequence[Path], sizes: np.ndarray, *, findings: Findings) -> tuple[np.ndarray, np.ndarray]:
    """Looks for every image, and compares its header with the size that the set states.

    Args:
        paths: (P,) images.
        sizes: (P, 2) stated height and width; zeros where the set states none, which the header then fills in.

    Returns:
        (P,) bool, the usable images, and (P, 2) int64 their sizes in the record's frame.
    """
    sizes = np.array(sizes, np.int64).reshape(-1, 2)
    usable = np.ones(len(paths), bool)
    for position in missing(paths):
        usable[position] = False
        findings.error("missing-image", paths[position], "no such image")
    unstated: np.ndarray = np.any(sizes <= 0, axis=1)
    for position in np.flatnonzero(usable & (unstated | (len(paths) <= HEADERS_CHECKED))).tolist():
        path = paths[position]
        try:
            upright, stored = image_sizes(path)
        except DataError as error:
            usable[position] = False
            findings.error("unreadable-image", path, str(error).removeprefix(f"{path}: "))
            continue
        if unstated[position]:
            sizes[position] = upright
        elif (stated := tuple(sizes[position].tolist())) not in (upright, stored):
            usable[position] = False
            text = f"the set says {stated[1]}×{stated[0]} (width × height), the file has {upright[1]}×{upright[0]}"
            findings.error("wrong-size", path, text)
    return usable, sizes
