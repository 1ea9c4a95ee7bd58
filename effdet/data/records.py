"""What a set labels, image by image, held in flat arrays.

Worker processes are forked; a Python list of a million boxes would be copied page by page as its reference counts are
touched. :class:`RecordTable` therefore keeps numpy arrays with offsets and makes each :class:`Record` when it is
asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from effdet.data.images import OnError, read_image
from effdet.files import decode_name, encode_name
from heads.structures import ClassTable, UserError

IGNORED = 255
"""The value of a semantic mask where nothing is trained on or counted."""


@dataclass(frozen=True, eq=False)
class Record:
    """One image and what is known of it. Boxes are in original pixels, those that :meth:`Dataset.read_image` gives."""

    image: Path
    image_id: int
    file_name: str
    """Path as the set writes it, with forward slashes."""
    width: int
    height: int
    boxes: np.ndarray
    """(N, 4) float32 xyxy, clipped to the image, each with a positive area."""
    labels: np.ndarray
    """(N,) int64 in 0…K-1."""
    crowd: np.ndarray
    """(N,) bool: a group, or a difficult object: neither trained on nor counted."""
    area: np.ndarray
    """(N,) float32 area by which evaluation calls a box small, medium or large (COCO: that of the object's mask)."""
    annotation_ids: np.ndarray
    """(N,) int64 ids that the set gives its annotations."""
    mask: Path | None = None
    instances: Path | None = None
    """The map of single objects beside the mask, where the set has one (Cityscapes' iIoU needs it)."""
    label: int | None = None
    """Class of the whole image."""
    has_boxes: bool = True
    """False for an image of a set that labels no boxes: it adds no detection loss."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


@dataclass(frozen=True, eq=False)
class RecordTable(Sequence[Record]):
    """Records as arrays: P images, N boxes in all; image i owns the rows ``starts[i]:starts[i + 1]``."""

    root: Path
    """Folder to which `paths` and `masks` are relative (absolute ones stand for themselves)."""
    image_ids: np.ndarray
    """(P,) int64."""
    file_names: np.ndarray
    """(P,) bytes, UTF-8: names as the set writes them, with forward slashes."""
    paths: np.ndarray
    """(P,) bytes, UTF-8: where the images lie."""
    sizes: np.ndarray
    """(P, 2) int64 height, width."""
    starts: np.ndarray
    """(P + 1,) int64."""
    bbox: np.ndarray
    """(N, 4) float64 x, y, width, height as the set gives them (evaluation wants them unrounded)."""
    labels: np.ndarray
    """(N,) int64."""
    crowd: np.ndarray
    """(N,) bool."""
    area: np.ndarray
    """(N,) float64."""
    annotation_ids: np.ndarray
    """(N,) int64."""
    masks: np.ndarray | None = None
    """(P,) bytes, UTF-8; empty where an image has none."""
    instances: np.ndarray | None = None
    """(P,) bytes, UTF-8; empty where an image has none."""
    class_pixels: np.ndarray | None = None
    """(P, K) int64 pixels of each semantic class in the image's mask; zeros where it has none."""
    categories: np.ndarray | None = None
    """(P,) int64 class of the image, -1 where it has none."""
    has_boxes: np.ndarray | None = None
    """(P,) bool; None means all True."""
    segments: np.ndarray | None = None
    """(N,) int64: where the reader keeps the mask of each object, -1 for none; only where such masks were asked for."""

    @classmethod
    def of(cls, records: Iterable[Record], *, root: Path = Path()) -> Self:
        """Packs `records` into arrays."""
        records = list(records)
        counts = [len(record.labels) for record in records]
        boxes = _concat([record.boxes for record in records], (0, 4), np.float64)
        return cls(
            root=root,
            image_ids=np.array([record.image_id for record in records], np.int64),
            file_names=encode_names([record.file_name for record in records]),
            paths=encode_names([str(record.image) for record in records]),
            sizes=np.array([record.size for record in records], np.int64).reshape(-1, 2),
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            bbox=np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1),
            labels=_concat([record.labels for record in records], (0,), np.int64),
            crowd=_concat([record.crowd for record in records], (0,), np.bool_),
            area=_concat([record.area for record in records], (0,), np.float64),
            annotation_ids=_concat([record.annotation_ids for record in records], (0,), np.int64),
            masks=encode_names([str(record.mask or "") for record in records]),
            instances=encode_names([str(record.instances or "") for record in records]),
            categories=np.array([-1 if record.label is None else record.label for record in records], np.int64),
            has_boxes=np.array([record.has_boxes for record in records], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        rows = slice(int(self.starts[index]), int(self.starts[index + 1]))
        height, width = (int(side) for side in self.sizes[index])
        mask, instances = (
            "" if column is None else decode_name(column[index]) for column in (self.masks, self.instances)
        )
        label = -1 if self.categories is None else int(self.categories[index])
        return Record(
            image=self.root / decode_name(self.paths[index]),
            image_id=int(self.image_ids[index]),
            file_name=decode_name(self.file_names[index]),
            width=width,
            height=height,
            boxes=clip_boxes(xyxy(self.bbox[rows]), height, width),
            labels=self.labels[rows],
            crowd=self.crowd[rows],
            area=self.area[rows].astype(np.float32),
            annotation_ids=self.annotation_ids[rows],
            mask=self.root / mask if mask else None,
            instances=self.root / instances if instances else None,
            label=label if label >= 0 else None,
            has_boxes=True if self.has_boxes is None else bool(self.has_boxes[index]),
        )

    def subset(self, indices: Sequence[int] | np.ndarray) -> Self:
        """The images at `indices`, in that order."""
        chosen = np.asarray(indices, np.int64).reshape(-1)
        counts = np.diff(self.starts)[chosen]
        rows = _rows_of(self.starts[:-1][chosen], counts)
        per_box = {"bbox", "labels", "crowd", "area", "annotation_ids", "segments"}
        changed: dict[str, Any] = {}
        for column in fields(self):
            values = getattr(self, column.name)
            if isinstance(values, np.ndarray) and column.name != "starts":
                changed[column.name] = values[rows if column.name in per_box else chosen]
        changed["starts"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return replace(self, **changed)

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns that are set, by name."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        return {name: values for name, values in columns.items() if isinstance(values, np.ndarray)}


class Dataset:
    """A set's split: its records, its classes, and how its images are read.

    Subclasses may override :meth:`read_image` (images that are not files), :meth:`read_mask` and :meth:`read_instances`, and
    :meth:`masked_objects` with :meth:`read_objects`.
    """

    def __init__(
        self,
        records: Sequence[Record],
        classes: ClassTable,
        *,
        name: str,
        split: str,
        labelled: Iterable[str] = ("boxes",),
        semantic_classes: ClassTable | None = None,
        warnings: Iterable[str] = (),
    ) -> None:
        """
        Args:
            records: a :class:`RecordTable`, or records to be packed into one.
            classes: of the boxes, or of whole images in a classification set.
            name: of the set, as in ``data=NAME``.
            split: ``train``, ``val`` or ``test``.
            labelled: what this set labels: any of ``boxes``, ``semantic``, ``category``.
            semantic_classes: of the masks, where there are any.
            warnings: one line for each kind of fault that was mended.
        """
        self.records = records if isinstance(records, RecordTable) else RecordTable.of(records)
        self.classes = classes
        self.name = name
        self.split = split
        self.labelled = frozenset(labelled)
        self.semantic_classes = semantic_classes
        self.warnings = list(warnings)
        unknown = self.labelled - {"boxes", "semantic", "category", "identity"}
        if unknown:
            raise UserError(f"labelled={sorted(unknown)} must be of boxes, semantic, category, identity")

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} {self.split}: {len(self)} images, {len(self.classes)} classes)"

    groups: np.ndarray | None = None
    """(P,) int64: images of one number lie in one file, and are best read together; None where each is a file."""
    window: int = 1
    """Groups whose images an epoch mixes with each other."""

    def beside(self, index: int) -> tuple[int, int]:
        """The range of positions from which a mosaic takes the partners of the image at `index`."""
        return 0, len(self)

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        """(h, w, 3) uint8 RGB in the record's frame, contiguous; see :func:`effdet.data.images.read_image`."""
        return read_image(record.image, size=record.size, on_error=on_error, at_least=at_least)

    def read_mask(self, record: Record) -> np.ndarray | None:
        """(h, w) uint8 segmentation map in 0…K-1 and 255, or None where the image has none."""
        if record.mask is None:
            return None
        raise NotImplementedError(f"data={self.name} says no way to read masks")

    def read_instances(self, record: Record) -> np.ndarray | None:
        """(h, w) int32 map of single objects, ``1000 · (class + 1) + number`` and 0 elsewhere, or None."""
        return None

    def masked_objects(self) -> np.ndarray | None:
        """(N,) bool: boxes of the table whose object :meth:`read_objects` has a mask of; None where the set keeps none."""
        return None

    def read_objects(self, index: int, rows: np.ndarray) -> list[np.ndarray]:
        """(h, w) bool masks of the boxes at `rows` of the image at `index`, of which :meth:`masked_objects` is True."""
        raise NotImplementedError(f"data={self.name} keeps no masks of objects")

    @property
    def void_id(self) -> int:
        """The value of a written segmentation map where none of the semantic classes was found."""
        return IGNORED

    def subset(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The same set with only the images at `indices`, in that order."""
        smaller = object.__new__(type(self))
        smaller.__dict__.update(self.__dict__)
        smaller.records = self.records.subset(indices)
        smaller.warnings = list(self.warnings)
        return smaller

    def coco(self) -> dict[str, Any]:
        """The ground truth of the boxes as a COCO dict with the set's own image and category ids.

        Boxes stand as the set gives them, but for those that leave the image by more than rounding (:func:`counted_boxes`):
        these are clipped.
        Boxes without any area are left out (and were warned of). Annotation ids are the set's own, unless one of them
        is 0, which pycocotools takes for "unmatched" (perfect boxes then score 0), or occurs twice: then they count
        up from 1. Images of a mixed set that label no boxes are left out.
        """
        table = self.records
        if table.has_boxes is not None and not table.has_boxes.all():
            table = table.subset(np.flatnonzero(table.has_boxes))
        ids = table.annotation_ids
        valid = len(ids) == 0 or (int(ids.min()) > 0 and len(np.unique(ids)) == len(ids))
        ids = ids if valid else np.arange(1, len(ids) + 1)
        owners = np.repeat(table.image_ids, np.diff(table.starts))
        own_ids = np.array([-1 if own is None else own for own in self.classes.ids], np.int64)
        columns = (ids, owners, own_ids[table.labels], table.area, table.crowd, counted_boxes(table))
        return {
            "images": [
                {"id": int(identity), "file_name": decode_name(name), "height": int(size[0]), "width": int(size[1])}
                for identity, name, size in zip(table.image_ids, table.file_names, table.sizes, strict=True)
            ],
            "annotations": [
                {
                    "id": row[0],
                    "image_id": row[1],
                    "category_id": row[2],
                    "area": row[3],
                    "iscrowd": int(row[4]),
                    "bbox": row[5],
                }
                for row in zip(*(column.tolist() for column in columns), strict=True)
            ],
            "categories": [
                {"id": own, "name": name}
                for own, name in zip(self.classes.ids, self.classes.names, strict=True)
                if own is not None
            ],
        }

    def fingerprint(self) -> str:
        """sha256 of names, sizes, boxes and classes (pixels and masks are not read), wherever the set lies."""
        digest = hashlib.sha256(f"{self.classes.to_dict()} {sorted(self.labelled)}".encode())
        for name, values in sorted(self.records.arrays().items()):
            if name not in ("paths", "masks", "instances", "segments"):
                # Byte strings are padded to the longest one: joined, they don't depend on which others stand beside
                # them.
                content = (
                    b"\n".join(values.tolist()) if values.dtype.kind == "S" else np.ascontiguousarray(values).tobytes()
                )
                digest.update(f"{name} {values.shape}".encode() + content)
        return digest.hexdigest()


VISIBLE = 0.95
"""COCO's highest IoU threshold: a box of which less lies inside its image could not be found at it by a clipped one."""


def counted_boxes(table: RecordTable) -> np.ndarray:
    """(N, 4) float64 xywh: each box as given (rounding is not a fault), or clipped where it leaves the image by more than a
    pixel, or where so much of a small box lies outside that no box inside the image reaches COCO's highest threshold."""
    corners = xyxy(table.bbox)
    limits = np.repeat(table.sizes[:, ::-1], np.diff(table.starts), axis=0)
    limits = np.concatenate([limits, limits], axis=1)
    clipped = np.clip(corners, 0, limits)
    clipped[:, 2:] -= clipped[:, :2]
    outside = np.any((corners < -1) | (corners > limits + 1), axis=1)
    hidden = clipped[:, 2] * clipped[:, 3] < VISIBLE * table.bbox[:, 2] * table.bbox[:, 3]
    return np.where((outside | hidden)[:, None], clipped, table.bbox)


def xyxy(bbox: np.ndarray) -> np.ndarray:
    """(N, 4) xywh -> (N, 4) xyxy, same frame and dtype."""
    return np.concatenate([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]], axis=1)


def clip_boxes(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """(N, 4) xyxy clipped to an image of `height` × `width`, as float32."""
    return np.clip(boxes, 0, np.array([width, height, width, height])).astype(np.float32)


def encode_names(names: Sequence[str]) -> np.ndarray:
    """Names -> one array of bytes, as long as its longest; :func:`effdet.files.decode_name` is the way back."""
    return np.array([encode_name(name) for name in names], dtype=np.bytes_) if names else np.zeros(0, "S1")


def _rows_of(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Row numbers of the runs that begin at `starts` and are `counts` long, one run after another."""
    before = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else np.zeros(0, np.int64)
    return (np.arange(counts.sum()) + np.repeat(starts - before, counts)).astype(np.int64)


def _concat(parts: list[np.ndarray], empty_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(empty_shape, dtype)
