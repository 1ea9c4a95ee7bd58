"""What a user says of a data set: the ``data`` group of the configuration as one dataclass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from effdet.data.checks import DataError, MissingSplit
from heads.fields import check_fields

SPLITS = ("train", "val", "test")
SPLIT_DIRS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""How tools call the folders, files and lists of each split."""
NAMED: Mapping[str, tuple[str, ...]] = {
    "folder": ("images",),
    "csv": ("annotations",),
    **dict.fromkeys(("cifar10", "cifar100", "mixed", "shards", "streets"), ()),
}
"""What the user names in place of ``data.root``, for sets where that is not both images and annotations."""
WITHOUT_FRACTION = frozenset({"mixed", "streets"})
"""Sets without ``data.val_fraction``."""


def has_split_dirs(bases: Iterable[Path], parts: Sequence[str] = ("",)) -> bool:
    """Whether one of `bases` has a folder of any split, ``PART/SPLIT`` or ``SPLIT/PART``."""
    names = [name for names in SPLIT_DIRS.values() for name in names]
    places = ((base / part / name, base / name / part) for base in bases for part in parts for name in names)
    return any(place.is_dir() for pair in places for place in pair)


def inside(path: Path, directory: Path) -> bool:
    """Whether `path` lies below `directory` as it is written: ``..`` counts, links are not followed."""
    return Path(os.path.normpath(path.absolute())).is_relative_to(os.path.normpath(directory.absolute()))


@dataclass(frozen=True)
class DataSpec:
    """One split of one data set, as ``data=NAME data.root=… split=…`` name it."""

    name: str
    """The format."""
    root: Path | None = None
    """Folder in the layout that the set's owners publish."""
    split: str = "train"
    train_images: Path | None = None
    """Folder of the training images, where it is not in its usual place."""
    train_annotations: Path | None = None
    """Annotations of the training images, where they are not in their usual place."""
    val_images: Path | None = None
    """As train_images, for the split val."""
    val_annotations: Path | None = None
    """As train_annotations, for the split val."""
    test_images: Path | None = None
    """As train_images, for the split test."""
    test_annotations: Path | None = None
    """As train_annotations, for the split test."""
    val_fraction: Annotated[float, "0<..<1"] | None = None
    """Share of train that becomes val, by a hash of each image's name, so that it stays the same; the set's own val split
    is then not used. null uses it."""
    classes: Sequence[str] | None = None
    """Names in the order of their labels, for sets that do not list them; null infers them."""
    difficult: Literal["ignore", "keep"] = "ignore"
    """Pascal VOC's difficult objects: ``ignore`` (not trained on, not counted) or ``keep`` (as any other)."""
    train_list: str = "train"
    """Pascal VOC: the list in ImageSets/Main of the training images, such as trainval, or car_train of a class."""
    max_images: Annotated[int, "1.."] | None = None
    """Only the first N images, by image id."""
    size: Annotated[int, "64..2048"] | Sequence[Annotated[int, "64..2048"]] | None = None
    """``streets``: side of its images in pixels, or [height, width]; null for its default."""
    seed: Annotated[int, "0.."] = 0
    """``streets``: the seed of the set; results on sets of different seeds are not comparable."""
    resize: Literal["letterbox", "stretch", "center_crop"] | None = None
    """Resize rule that suits the set (``stretch`` for images that are all of one small size); null is the model's."""
    level: Literal["fine", "coarse"] = "fine"
    """``cifar100``: ``fine`` (100 classes) or ``coarse`` (20)."""
    counts: Mapping[str, int] | None = None
    """``streets``: images in each split, such as {train: 3000}; null for its defaults."""
    unreadable: Literal["error", "warn"] = "error"
    """Images that cannot be decoded are named before the first step and stop the run; warn uses the part that can be
    decoded in train, and leaves them out of val and test."""
    requested: Sequence[str] | None = None
    """What to read of that which the set labels: any of ``boxes``, ``semantic``, ``category``; null reads all."""
    objects: bool = False
    """Whether masks of single objects are kept where the set has them, for a training that pastes them."""
    values: Sequence[int] | None = None
    """``masks``: the value of each class in the masks, in the order of classes; null counts 0, 1, 2, …"""
    ignored: Sequence[int] = (255,)
    """``masks``: values that are neither trained on nor counted; the first stands where a written map has no class."""
    mask_suffix: str = ""
    """``masks``: suffix of a mask's name after its image's, such as ``_mask``."""
    boxes: Mapping[str, Any] | None = None
    """``mixed``: the set that labels boxes, by the keys of its own file: {name: coco, root: …}."""
    masks: Mapping[str, Any] | None = None
    """``mixed``: the set that labels masks, likewise."""

    target: Mapping[str, Any] | None = None
    """A set of the user's own: the ``_target_`` that gives the examples of a split, with its arguments."""
    keys: str = "data."
    """What stands before the keys of this set on the command line: ``data.boxes.`` for a part of a mixed set."""
    url: str | None = None
    """``shards``: in place of root, the address (http, https) of a folder with the index and the tars, which are fetched
    one by one."""
    cache_gb: Annotated[float, "0<.."] = 50.0
    """``shards``: of the tars fetched from url, this many 10^9 bytes stay on this disk, those used last."""
    window: Annotated[int, "1.."] = 8
    """``shards``: number of shards that are mixed with each other at a time."""

    def __post_init__(self) -> None:
        for field in ("root", *(f"{split}_{part}" for split in SPLITS for part in ("images", "annotations"))):
            value = getattr(self, field)
            object.__setattr__(self, field, None if value is None else Path(value).expanduser())
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        if self.requested is not None:
            object.__setattr__(self, "requested", tuple(self.requested))
        if self.counts is not None and not set(self.counts) <= set(SPLITS):
            raise DataError(f"data.counts={dict(self.counts)} must name only {', '.join(SPLITS)}")
        if self.split not in SPLITS:
            raise DataError(f"split={self.split!r} must be one of {', '.join(SPLITS)}")
        check_fields(self, "data.", DataError)

    @property
    def file_split(self) -> str:
        """The split whose files are read: val comes out of the train files where `val_fraction` is set."""
        return "train" if self.val_fraction is not None and self.split == "val" else self.split

    @property
    def list_name(self) -> str:
        """The file of ``ImageSets/Main``, without its suffix."""
        return self.train_list if self.file_split == "train" else self.file_split

    @property
    def images(self) -> Path | None:
        """Image folder that the user names for these files."""
        return getattr(self, f"{self.file_split}_images")

    @property
    def annotations(self) -> Path | None:
        """Annotation file or folder that the user names for these files."""
        return getattr(self, f"{self.file_split}_annotations")

    def named_dir(self, part: str, split: str | None = None) -> Path | None:
        """The folder that the user names for the ``images`` or ``annotations`` of a split (these files', if None).

        Raises:
            DataError: it is not there.
        """
        return self._named(part, split, Path.is_dir, "folder")

    def named_file(self, split: str | None = None) -> Path | None:
        """The annotation file that the user names, likewise."""
        return self._named("annotations", split, Path.is_file, "file")

    def _named(self, part: str, split: str | None, there: Callable[[Path], bool], what: str) -> Path | None:
        key = f"{split or self.file_split}_{part}"
        path = getattr(self, key)
        if path is not None and not there(path):
            raise DataError(f"{self.title}: {self.keys}{key}={path} is not a {what}")
        return path

    def wants(self, label: str) -> bool:
        """Whether `label` (``boxes``, ``semantic``, ``category``) is to be read where the set has it."""
        return self.requested is None or label in self.requested

    @property
    def names_own_classes(self) -> bool:
        """Whether the classes of these files are their own, and not those of train: where their identities are to be new."""
        return self.file_split == "train" or "identity" in (self.requested or ())

    @property
    def title(self) -> str:
        """How messages call this set."""
        return f"data={self.name} split={self.split}"

    def key(self, part: str) -> str:
        """How the user names the ``images`` or ``annotations`` of these files."""
        return f"{self.keys}{self.file_split}_{part}"

    def need_root(self) -> Path:
        """`root`, which must be there."""
        if self.root is None:
            named = " and ".join(self.key(part) for part in NAMED.get(self.name, ("images", "annotations")))
            text = f"{self.title}: say where it lies, with {self.keys}root=DIR{named and f' or with {named}'}"
            others = any(
                getattr(self, f"{split}_{part}") is not None for split in SPLITS for part in ("images", "annotations")
            )
            raise MissingSplit(text, kind="missing-split") if others else DataError(text)
        if not self.root.is_dir():
            raise DataError(f"{self.title}: {self.keys}root={self.root} is not a folder")
        return self.root

    def lacks_split(self, looked_for: str, **parts: str) -> MissingSplit:
        """The error for files that are not there.

        Args:
            looked_for: what would be read.
            parts: ``images`` and ``annotations``, those whose key names the files elsewhere, with what it takes: a ``FILE``,
                a ``DIR``.
        """
        named = " and ".join(f"{self.key(part)}={what}" for part, what in parts.items())
        fixes = [f"name {'them' if len(parts) > 1 else 'it'} with {named}"] if parts else []
        if self.file_split == "val" and self.name not in WITHOUT_FRACTION:
            fixes.append(f"hold out a part of train with {self.keys}val_fraction=0.1")
        where = "" if self.root is None else f" under {self.keys}root={self.root}"
        return MissingSplit(f"{self.title}: no {looked_for}{where}{'; ' if fixes else ''}{', or '.join(fixes)}")
