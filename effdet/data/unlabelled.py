"""Images without labels: found in a folder, a pattern or a list, and shown in two views of one geometry.

The weak view is laid on the canvas as a training sample is (mirrored, scaled, cropped); the strong view is the same canvas with
its colours jittered, greyed, blurred, and a part of it erased (as in Dense Teacher, arXiv 2207.02541, section 4.1), so that
what is said of a place of the one holds for that place of the other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from effdet.data.augment import AugmentSpec
from effdet.data.boxes import category_table
from effdet.data.checks import Findings
from effdet.data.images import OnError
from effdet.data.listing import relative_names
from effdet.data.preflight import NAMED
from effdet.data.records import Dataset, RecordTable
from effdet.data.rng import generator
from effdet.data.train_set import Key, Sample, TrainSet
from effdet.data.transforms import Photometric, erase
from effdet.files import decode_name
from effdet.preprocess import Preprocess
from heads.structures import ClassTable

STRONG = AugmentSpec(
    name="strong view",
    colour=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grayscale=0.2, blur=0.5, blur_sigma=2.0,
    erase=0.7, erase_area=(0.02, 0.15),
)  # fmt: skip
"""What the strong view has besides the weak one's geometry."""


def open_unlabelled(paths: Sequence[Path], *, name: str, on_error: OnError) -> Dataset:
    """The images at `paths` as a set that labels nothing.

    Args:
        name: as the user named them.
        on_error: ``error`` names those whose header can't be read; ``warn`` leaves them out.

    Raises:
        DataError: unreadable images, all in one.
    """
    findings = Findings()
    table = unlabelled_records(paths, findings)
    if on_error == "warn" and len(table) > 0:
        findings.pass_over({"unreadable-image"})
    findings.raise_errors(f"data.unlabelled={name}")
    found = as_unlabelled(table, name)
    found.warnings.extend(findings.summaries())
    return found


def unlabelled_records(paths: Sequence[Path], findings: Findings) -> RecordTable:
    """Those of `paths` whose header can be read; `findings` takes the others."""
    root = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    names = relative_names([path.absolute() for path in paths], root)
    return category_table(root, names, [-1] * len(paths), findings)


def as_unlabelled(table: RecordTable, name: str) -> Dataset:
    """The images of `table` as a set that labels nothing."""
    return Dataset(table, ClassTable((), ()), name=name, split="unlabelled", labelled=())


def weak_view(augment: AugmentSpec) -> AugmentSpec:
    """Of a run's augmentation what moves pixels of an image: mirror, scale, aspect, area, shift."""
    kept = ("hflip", "scale", "aspect", "area", "shift")
    return AugmentSpec(name="weak view", **{field: getattr(augment, field) for field in kept})


class UnlabelledSet(TrainSet):
    """(epoch, index) -> two samples of one geometry, which are functions of (seed, epoch, index, copy).

    A batch of B keys gives 2 B samples: the weak views, then the strong ones in the same order.
    """

    def __init__(
        self, source: Dataset, preprocess: Preprocess, *, augment: AugmentSpec, seed: int, on_error: OnError = "error"
    ) -> None:
        super().__init__(source, preprocess, augment=weak_view(augment), seed=seed, on_error=on_error)
        self._strong: Photometric | None = None

    def warm_up(self) -> None:
        super().warm_up()
        if self._strong is None:
            self._strong = Photometric(STRONG)

    def __getitems__(self, keys: Sequence[Key]) -> list[Sample]:
        weak = super().__getitems__(keys)
        return [*weak, *map(self._changed, weak)]

    def _changed(self, weak: Sample) -> Sample:
        assert self._strong is not None, "warm_up() comes first"
        rng = generator(self.seed, "strong view", *weak.key)
        image = np.array(self._strong(weak.image.copy(), rng))
        if rng.random() < STRONG.erase:
            erase(image, rng, STRONG.erase_area)
        return replace(weak, image=image)


def shared_images(unlabelled: Dataset, val: Dataset) -> list[str]:
    """Names of `unlabelled`'s images whose bytes are those of an image of `val`; nothing where val's are not files."""
    own, others = _files(unlabelled), _files(val)
    sizes = {path.stat().st_size for path in others}
    near = [path for path in own if path.stat().st_size in sizes]
    if not near:
        return []
    wanted = {path.stat().st_size for path in near}
    known = {_digest(path) for path in others if path.stat().st_size in wanted}
    return [str(path) for path in near if _digest(path) in known]


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _files(source: Dataset) -> list[Path]:
    table = source.records
    paths = [table.root / decode_name(name) for name in table.paths]
    return [path for path in paths if path.is_file()]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
