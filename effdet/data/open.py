"""From the name of a data set to its records, with everything checked before any work is done.

A part of train is held out as val stably: an image's side depends on its own name only. For embeddings what is held out is
identities, not images, so that evaluation meets none that training saw.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from backbones.fields import check_keys
from effdet.data.bdd100k import open_bdd100k
from effdet.data.checks import DataError, Findings
from effdet.data.cifar import open_cifar10, open_cifar100
from effdet.data.cityscapes import open_cityscapes
from effdet.data.coco import find_annotations, open_coco
from effdet.data.derived import CropDataset, MixedDataset, street_identities
from effdet.data.image_mask_folders import open_camvid, open_masks
from effdet.data.own_split import open_own
from effdet.data.records import Dataset
from effdet.data.shards import open_shards
from effdet.data.spec import DataSpec
from effdet.data.voc import open_voc
from effdet.data.whole_images import open_csv, open_folder
from effdet.data.yolo import open_yolo
from effdet.files import decode_name, encode_name
from effdet.plurals import counted
from heads.structures import ClassTable


def held_out(names: Iterable[str], fraction: float) -> np.ndarray:
    """(P,) bool: which images (or classes) are held out.

    The name's sha256 is read as a number in [0, 1) and compared with `fraction`: adding or removing other images
    moves none, a larger fraction only adds to val, and the same name always falls on the same side.
    """
    plain = [name.replace("\\", "/").removeprefix("./") for name in names]
    hashes = [int.from_bytes(hashlib.sha256(encode_name(name)).digest()[:8]) / 2**64 for name in plain]
    return np.array(hashes, np.float64) < fraction


def split_train(source: Dataset, *, split: str, fraction: float, identities: bool = False) -> Dataset:
    """The part of a train `source` that is train or val under ``data.val_fraction``.

    With `identities` its classes are divided, not its images, and numbered from 0 on each side.
    """
    if identities:
        names, what = [str(name) for name in source.classes.names], "classes"
    else:
        names, what = [decode_name(name) for name in source.records.file_names], "train images"
    held = held_out(names, fraction)
    chosen = np.flatnonzero(held if split == "val" else ~held)
    if len(chosen) == 0:
        fix = "raise it" if split == "val" else "lower it"
        raise DataError(f"data.val_fraction={fraction} of {len(names)} {what} leaves {split} without any: {fix}")
    smaller = relabelled(source, chosen) if identities else source.subset(chosen)
    smaller.split = split
    return smaller


def as_identities(source: Dataset) -> Dataset:
    """`source` as a set of identities: the classes that have images, numbered from 0.

    Raises:
        DataError: it labels no whole images.
    """
    categories = source.records.categories
    if categories is None or "category" not in source.labelled:
        raise DataError(f"data={source.name} labels {', '.join(sorted(source.labelled))}, and no identities")
    smaller = relabelled(source, np.unique(categories[categories >= 0]))
    smaller.labelled = frozenset({"category", "identity"})
    return smaller


def relabelled(source: Dataset, chosen: np.ndarray) -> Dataset:
    """The images of the classes `chosen` (numbers), which become 0, 1, 2, …"""
    categories = source.records.categories
    assert categories is not None, "a set of whole images"
    kept = np.isin(categories, chosen)
    smaller = source.subset(np.flatnonzero(kept))
    smaller.records = replace(smaller.records, categories=np.searchsorted(chosen, categories[kept]))
    names, ids = source.classes.names, source.classes.ids
    smaller.classes = ClassTable(tuple(names[index] for index in chosen), tuple(ids[index] for index in chosen))
    return smaller


Opener = Callable[[DataSpec, Findings], Dataset]


def open_streets(spec: DataSpec, findings: Findings) -> Dataset:
    """The generated set, drawn on first use into the cache, or read from ``data.root``.

    It is COCO from there on where boxes are wanted, and Cityscapes where masks are.
    """
    if spec.root is None and spec.annotations is None:
        from effdet import streets

        size = spec.size if spec.size is None or isinstance(spec.size, int) else (spec.size[0], spec.size[1])
        settings: dict[str, Any] = {**(spec.counts or {}), "seed": spec.seed}
        if size is not None:
            settings["size"] = size
        spec = replace(spec, root=streets.ensure(**settings))
    if spec.requested is not None and "semantic" in spec.requested:
        return open_cityscapes(spec, findings)
    source = open_coco(spec, findings)
    requested = spec.requested or ()
    if "identity" in requested:
        return street_identities(source, spec.annotations or find_annotations(spec))
    return CropDataset.of(source) if "category" in requested else source


def open_mixed(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of both sets that ``data.boxes`` and ``data.masks`` name."""
    parts = []
    for key, label in (("boxes", "boxes"), ("masks", "semantic")):
        if spec.wants(label):
            parts.append(_opened(spec, key, label, findings))
    return parts[0] if len(parts) == 1 else MixedDataset(parts, name=spec.name, split=spec.split)


def _opened(spec: DataSpec, key: str, label: str, findings: Findings) -> Dataset:
    passed: dict[str, Any] = dict(getattr(spec, key) or {})
    settings = {name: value for name, value in passed.items() if value is not None}
    outer = {"split", "max_images", "requested", "objects", "boxes", "masks", "keys", "target"}
    known = [field.name for field in fields(DataSpec) if field.name not in outer]
    name = settings.get("name")
    if name not in OPENERS or name == spec.name:
        others = ", ".join(sorted(set(OPENERS) - {spec.name}))
        raise DataError(f"{spec.title}: data.{key}.name={name} must be a set that labels {key}: {others}")
    check_keys(settings, known, what=f"{spec.title}: data.{key}", error=DataError)
    own = Findings()
    source = open_dataset(DataSpec(split=spec.split, requested=(label,), keys=f"data.{key}.", **settings), findings=own)
    findings.items.extend(own.errors)  # its warnings are the source's
    if label not in source.labelled:
        raise DataError(f"{spec.title}: data.{key}.name={name} labels no {key}")
    return source


OPENERS: dict[str, Opener] = {
    "bdd100k": open_bdd100k,
    "camvid": open_camvid,
    "cifar10": open_cifar10,
    "cifar100": open_cifar100,
    "cityscapes": open_cityscapes,
    "coco": open_coco,
    "csv": open_csv,
    "folder": open_folder,
    "masks": open_masks,
    "mixed": open_mixed,
    "shards": open_shards,
    "streets": open_streets,
    "voc": open_voc,
    "yolo": open_yolo,
}
"""``data=NAME`` -> who reads it. A new set is a new reader and a new line here."""


def opener_of(spec: DataSpec) -> Opener:
    """Who reads the set that `spec` names.

    Raises:
        DataError: there is no such set.
    """
    if spec.target is not None:
        return open_own
    if spec.name in OPENERS:
        return OPENERS[spec.name]
    near = difflib.get_close_matches(spec.name, OPENERS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(f"data={spec.name!r} is not a known set: {hint}There are {', '.join(sorted(OPENERS))}")


UNREADABLE = frozenset({"unreadable-image", "unreadable-mask", "unreadable-instances"})
"""Faults of single files that ``data.unreadable=warn`` passes over: their images are left out."""


def open_dataset(spec: DataSpec, *, findings: Findings | None = None) -> Dataset:
    """Opens the split of a set that `spec` names.

    Args:
        spec: name, place and split.
        findings: where to note what is wrong, errors too, instead of raising; the result then holds the valid items
            only (``doctor`` wants that). A set that cannot be found at all is an error either way.

    Returns:
        The source, its records sorted by image id; its `warnings` say in one line for each kind what was mended.

    Raises:
        DataError: one error that lists all that is wrong.
    """
    opener = opener_of(spec)
    collected = Findings() if findings is None else findings
    source = opener(spec, collected)
    if len(source) == 0 and not collected.errors:
        collected.error("no-images", spec.title, "lists no image at all")
    if findings is None:
        if spec.unreadable == "warn" and len(source) > 0:
            collected.pass_over(UNREADABLE)
        collected.raise_errors(spec.title)
    source.warnings.extend(collected.summaries())
    identities = "identity" in (spec.requested or ())
    if spec.val_fraction is not None and spec.split in ("train", "val") and len(source) > 0:
        source = split_train(source, split=spec.split, fraction=spec.val_fraction, identities=identities)
    if identities and len(source) > 0:
        source = as_identities(source)
    if spec.max_images is not None:
        source = source.subset(range(min(spec.max_images, len(source))))
    if not collected.errors:
        note_unlabelled(source, spec, collected)
        if findings is None:
            collected.raise_errors(spec.title)
    return source


def note_unlabelled(source: Dataset, spec: DataSpec, findings: Findings) -> None:
    """Notes what a train split labels, but none of its images has."""
    table, pixels = source.records, source.records.class_pixels
    left_out = "".join(f"; {line}" for line in findings.summaries())
    lacking = {
        "box": "boxes" in source.labelled and table.crowd.all(),
        "mask": "semantic" in source.labelled and pixels is not None and not pixels.any(),
    }
    for what in (what for what, lacks in lacking.items() if lacks and spec.split == "train"):
        kind = {"box": "no-boxes", "mask": "no-masks"}[what]
        findings.error(kind, spec.title, f"{counted(len(source), 'image')}, but no {what} to learn from{left_out}")
