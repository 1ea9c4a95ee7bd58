"""BDD100K in its published layout: boxes of the 100k images, masks of the 10k images.

Boxes: ``images/100k/SPLIT`` with ``labels/det_20/det_SPLIT.json`` (or the first release's
``labels/bdd100k_labels_images_SPLIT.json``), a list of frames, each with ``labels`` of ``category`` and ``box2d`` (Scalabel's
form). Corners are pixels that belong to the object, so that the box of x1 … x2 is x2 - x1 + 1 wide, as in the owners'
conversion to COCO's form. Their table (``configs/det.toml``) also joins the first release's names to today's, and counts
three categories as neither found nor missed: here they are crowds, like what is marked ``crowd``.

Masks: ``images/10k/SPLIT`` with ``labels/sem_seg/masks/SPLIT`` (or the first release's ``seg/images/SPLIT`` with
``seg/labels/SPLIT/*_train_id.png``), whose values are Cityscapes' trainIds. The 10k images are no part of the 100k ones, so
that both together are a mixed set: each image adds the loss of what it labels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from effdet.data.boxes import HEADERS_CHECKED, Boxes, assemble
from effdet.data.checks import DataError, Findings, MissingSplit
from effdet.data.cityscapes import TRAINED
from effdet.data.derived import MixedDataset
from effdet.data.image_mask_folders import masks_only, paired
from effdet.data.mask_index import Images
from effdet.data.mask_io import MaskValues
from effdet.data.parsed_cache import Arrays, cached_arrays
from effdet.data.records import Dataset, encode_names
from effdet.data.spec import DataSpec
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


def parse_frames(path: Path, findings: Findings) -> tuple[list[str], Boxes]:
    """Reads a detection file: the images' names, sorted, and their boxes. Large ones come from the cache after the first
    time."""

    def parse() -> tuple[Arrays, bool]:
        before = len(findings.items)
        arrays = _arrays(path, findings)
        return arrays, len(findings.items) == before

    arrays = cached_arrays(path, parse)
    names = [decode_name(name) for name in arrays.pop("names").tolist()]
    return names, Boxes(**arrays)


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


SEMANTIC_CLASSES = ClassTable(tuple(label.name for label in TRAINED), tuple(range(len(TRAINED))))
VALUES = MaskValues.of({value: value for value in range(len(TRAINED))})
SIZE = (720, 1280)
"""(height, width) of all images."""


def open_bdd100k(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of BDD100K that `spec` names: its boxes, its masks, or both."""
    parts: list[Dataset] = []
    lacking: list[DataError] = []
    for label, opener in (("boxes", _open_boxes), ("semantic", _open_masks)):
        if spec.wants(label):
            try:
                parts.append(opener(spec, findings))
            except DataError as error:
                lacking.append(error)
    if lacking and (spec.requested is not None or not parts):
        missing = all(isinstance(error, MissingSplit) for error in lacking)
        raise (MissingSplit if missing else DataError)("\n".join(map(str, lacking)))
    return parts[0] if len(parts) == 1 else MixedDataset(parts, name=spec.name, split=spec.split)


def _bases(spec: DataSpec) -> list[Path]:
    root = spec.need_root()
    return [root, root / "bdd100k"]


def _named(spec: DataSpec, label: str) -> tuple[Path | None, Path | None]:
    """The images and the annotations of `label` that the user names: a file of annotations lists boxes, a folder holds
    masks; images go with them, and with the boxes where only they are named."""
    images, annotations = spec.named_dir("images"), spec.annotations
    if annotations is not None:
        if not annotations.exists():
            raise DataError(f"{spec.title}: {spec.key('annotations')}={annotations} is not there")
        meant = "semantic" if annotations.is_dir() else "boxes"
    else:
        meant = label if spec.requested is not None else "boxes"
    return (images, annotations) if meant == label else (None, None)


def _open_boxes(spec: DataSpec, findings: Findings) -> Dataset:
    split = spec.file_split
    images, listing = _named(spec, "boxes")
    names = (f"det_20/det_{split}.json", f"bdd100k_labels_images_{split}.json")
    if listing is None:
        found = (base / "labels" / name for base in _bases(spec) for name in names)
        listing = next((path for path in found if path.is_file()), None)
    if listing is None:
        raise spec.lacks_split(f"labels/det_20/det_{split}.json", annotations="FILE")
    if images is None:
        folders = [base / "images" / "100k" for base in _bases(spec)]
        images = next((folder / split for folder in folders if folder.is_dir()), None)
    if images is None:
        raise spec.lacks_split(f"folder images/100k/{split}", images="DIR")
    names, boxes = parse_frames(listing, findings)
    sizes = None if len(names) <= HEADERS_CHECKED else np.tile(SIZE, (len(names), 1))
    where = lambda row: (str(listing), f"{names[boxes.owner[row]]}, box {row}")
    table = assemble(images, names, boxes, where, findings, sizes=sizes)
    return Dataset(table, CLASSES, name=spec.name, split=spec.split)


def _open_masks(spec: DataSpec, findings: Findings) -> Dataset:
    split = spec.file_split
    own_images, own_masks = _named(spec, "semantic")
    for base in _bases(spec) if own_images is None or own_masks is None else [Path()]:
        for images, masks, suffix in (
            (base / "images" / "10k" / split, base / "labels" / "sem_seg" / "masks" / split, ""),
            (base / "seg" / "images" / split, base / "seg" / "labels" / split, "_train_id"),
        ):
            images, masks = own_images or images, own_masks or masks
            if own_masks is not None:
                suffix = "_train_id" if next(masks.glob("*_train_id.png"), None) else ""
            if images.is_dir() and (masks.is_dir() or spec.split == "test"):
                names, files = paired(images, masks, findings, mask_suffix=suffix)
                listed = Images(images, names, files, unmasked=spec.split == "test")
                return masks_only(spec, listed, VALUES, SEMANTIC_CLASSES, findings)
    raise spec.lacks_split(f"images/10k/{split} beside labels/sem_seg/masks/{split}", images="DIR", annotations="DIR")
