"""COCO ground truth and results: read, checked and copied into one plain form that every backend takes alike.

What real files hold and what evaluators silently make of it is resolved here, once: annotation id 0 (pycocotools counts a box
matched to it as unmatched), repeated annotation ids, a missing `area` or `iscrowd`, numbers and truth values as text
(``"iscrowd": "0"``; ids ``"7"`` in one file and ``7`` in the other), text or gappy image and category ids, boxes that are
not finite. Ids are renumbered from 1 in sorted order, the order in which pycocotools walks images and
categories, so that ties in score fall the same way.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from effdet.files import read_json as read_json_file
from effdet.files.scalars import flag, whole
from heads.structures import UserError

Json = str | os.PathLike[str] | Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class CocoInputs:
    """Ground truth and results in the plain form: ids 1…N, boxes ``[x, y, w, h]`` in floats of original pixels."""

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    truth: list[dict[str, Any]]
    results: list[dict[str, Any]]
    names: list[str]
    """Category names in id order, made unique."""
    counts: list[int]
    """Boxes of each category that count (not crowds), in id order."""
    image_ids: list[Any]
    """The set's own ids of `images`, in their order."""


def read_json(value: Json, *, what: str) -> Any:
    """`value` itself when it is loaded already, else the file's content. `what` names the argument in errors."""
    if not isinstance(value, (str, os.PathLike)):
        return value
    path = Path(value).expanduser()
    if not path.is_file():
        reason = f"{path} is a folder, a JSON file is needed" if path.is_dir() else f"there is no file {path}"
        raise UserError(f"{what}: {reason}")
    try:
        return read_json_file(path)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None


def coco_inputs(annotations: Json, predictions: Json) -> CocoInputs:
    """Check `annotations` and `predictions` (paths or loaded JSON) and copy what counts; the arguments are not changed."""
    dataset = read_json(annotations, what="annotations")
    if not isinstance(dataset, Mapping):
        raise UserError(f"annotations must be a COCO dictionary, got {type(dataset).__name__}")
    absent = [key for key in ("images", "categories") if not isinstance(dataset.get(key), Sequence)]
    if absent:
        raise UserError(f"annotations need the lists 'images', 'annotations', 'categories'; {absent[0]!r} is missing")
    results = read_json(predictions, what="predictions")
    if isinstance(results, Mapping):
        results = results.get("annotations")
    if not isinstance(results, Sequence) or isinstance(results, str):
        raise UserError("predictions must be a list of COCO results (image_id, category_id, bbox, score)")

    images = Numbering(dataset["images"], "annotations: images")
    categories = Numbering(dataset["categories"], "annotations: categories")
    truth = _truth(dataset.get("annotations") or [], images, categories)
    by_id = {category.get("id"): category for category in dataset["categories"]}
    named = [by_id[own].get("name") for own in categories.own]
    texts = [str(own if name is None else name) for name, own in zip(named, categories.own, strict=True)]
    names = [
        f"{text} ({own})" if texts.count(text) > 1 else text for text, own in zip(texts, categories.own, strict=True)
    ]
    counts = [0] * len(categories.own)
    for annotation in truth:
        counts[annotation["category_id"] - 1] += not annotation["iscrowd"]
    return CocoInputs(
        images=[{"id": place} for place in range(1, len(images.own) + 1)],
        categories=[{"id": place, "name": name} for place, name in enumerate(names, start=1)],
        truth=truth,
        results=_results(results, images, categories),
        names=names,
        counts=counts,
        image_ids=images.own,
    )


def _truth(annotations: Sequence[Mapping[str, Any]], images: Numbering, categories: Numbering) -> list[dict[str, Any]]:
    rows, strays = [], 0
    for index, annotation in enumerate(annotations):
        where = f"annotations[{index}] (id {annotation.get('id')!r})"
        image, category = images.get(annotation.get("image_id")), categories.get(annotation.get("category_id"))
        if image is None or category is None:  # pycocotools leaves these out, without a word
            strays += 1
            continue
        box = _box(annotation, where)
        area = annotation.get("area")
        area = box[2] * box[3] if area is None else _number(area, f"{where}: area")
        crowd = annotation.get("iscrowd")
        crowd = int(crowd if isinstance(crowd, np.generic) else flag(crowd))
        rows.append(_row(len(rows) + 1, image, category, box, area) | {"iscrowd": crowd})
    if strays:
        warnings.warn(f"{strays} annotations name an image or category that the file lacks: left out", stacklevel=4)
    return rows


def _results(results: Sequence[Mapping[str, Any]], images: Numbering, categories: Numbering) -> list[dict[str, Any]]:
    rows, strays = [], []
    for index, result in enumerate(results):
        where = f"predictions[{index}]"
        if not isinstance(result, Mapping):
            raise UserError(f"{where} must be a dictionary, got {type(result).__name__}")
        image = images.get(result.get("image_id"))
        if image is None:
            raise UserError(
                f"{where} has image_id {result.get('image_id')!r}, which is not among the {len(images.own)} images of the "
                "annotations: evaluate against the split that was predicted"
            )
        box = _box(result, where)
        score = _number(result.get("score"), f"{where}: score")
        category = categories.get(result.get("category_id"))
        if category is None:
            strays.append(result.get("category_id"))
            continue
        rows.append(_row(len(rows) + 1, image, category, box, box[2] * box[3]) | {"score": score, "iscrowd": 0})
    if strays:
        unknown = ", ".join(sorted({repr(key) for key in strays})[:5])
        if not rows:
            known = ", ".join(map(repr, categories.own[:5])) + (", …" if len(categories.own) > 5 else "")
            raise UserError(
                f"no prediction has a category of the annotations: predicted {unknown}, known {known}; "
                "predictions must use the annotations' own category ids"
            )
        warnings.warn(f"{len(strays)} predictions have unknown category ids ({unknown}): left out", stacklevel=4)
    return rows


def _row(place: int, image: int, category: int, box: list[float], area: float) -> dict[str, Any]:
    return {"id": place, "image_id": image, "category_id": category, "bbox": box, "area": area}


class Numbering:
    """The numbers 1…N of the entries of a list, by their own ids in sorted order.

    Ids that are whole numbers in any form are one id (``7``, ``7.0``, ``"7"``), as everywhere in annotation files; but not
    where that would make two entries one (texts such as ``"007"`` and ``"7"``): there each id is taken as it stands.

    Args:
        entries: ``images`` or ``categories``.
        what: names them in errors.

    Raises:
        UserError: an entry has no id.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]], what: str) -> None:
        if any(not isinstance(entry, Mapping) or "id" not in entry for entry in entries):
            raise UserError(f"{what}: every entry needs an 'id'")
        ids = dict.fromkeys(entry["id"] for entry in entries)
        self._exact = len({self._whole(own) for own in ids}) < len(ids)
        owns = {self._key(own): own for own in ids}
        try:
            ordered = sorted(owns)
        except TypeError:  # numbers and texts mixed
            ordered = sorted(owns, key=str)
        self.own = [owns[key] for key in ordered]
        """The entries' ids as the file has them, in the order of their numbers."""
        self._numbers = {key: place for place, key in enumerate(ordered, start=1)}

    def get(self, own: Any) -> int | None:
        """The number of the entry with this id; None where there is none."""
        found = self._numbers.get(own)  # at once for nearly all of a large file's rows
        return self._numbers.get(self._key(own)) if found is None else found

    def _key(self, own: Any) -> Any:
        return own if self._exact else self._whole(own)

    @staticmethod
    def _whole(own: Any) -> Any:
        found = whole(own)
        return own if found is None else found


def _box(entry: Mapping[str, Any], where: str) -> list[float]:
    box = entry.get("bbox")
    try:
        values = [float(value) for value in box]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        values = []
    if len(values) != 4:
        raise UserError(f"{where}: bbox must be [x, y, width, height] in pixels, got {box!r}")
    if not all(map(math.isfinite, values)):
        raise UserError(f"{where}: bbox {values} must be finite")
    if values[2] < 0 or values[3] < 0:
        raise UserError(f"{where}: bbox {values} has a negative width or height (the form is x, y, width, height)")
    return values


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where} must be a finite number, got {value!r}")
    return number
