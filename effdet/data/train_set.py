"""The training set: (epoch, index) -> one augmented sample, the same whenever and by whichever worker it is made.

A batch is asked for at once: where the partners of a mosaic or mixup come from the batch (``augment.partners=batch``), a
sample is a function of the batch's keys too, which are one of (seed, epoch, step, rank).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from effdet.data.augment import AugmentSpec
from effdet.data.checks import DataError
from effdet.data.copy_paste import Donors, uncovered
from effdet.data.crop import (
    ClassCrop,
    Window,
    as_evaluated,
    flipped,
    mirror,
    random_area,
    random_scale,
    random_shift,
    resize_mask,
    resize_window,
    snap_to_pixels,
)
from effdet.data.images import OnError
from effdet.data.partners import BatchReader, Part, Paste, Plan, Reader
from effdet.data.records import IGNORED, Dataset, Record
from effdet.data.rng import generator
from effdet.data.transforms import AutoAugmentation, Photometric, Transforms, erase
from effdet.preprocess import Preprocess
from heads.structures import UserError

WHOLE = frozenset({"category", "identity"})
"""Labels of whole images, which nothing in the image ties to a place."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image on the canvas with its targets."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, contiguous."""
    boxes: np.ndarray
    """(N, 4) float32 xyxy, input pixels."""
    labels: np.ndarray
    """(N,) int64 in 0…K-1."""
    index: int
    semantic: np.ndarray | None = None
    """(H, W) uint8, 255 where ignored; set for every sample of a source that labels masks."""
    category: int | None = None
    """Class of the image, -1 where it could not be read."""
    has_boxes: bool = True
    key: tuple[int, int, int] = (0, 0, 0)
    """(epoch, index, copy) by which it was asked for."""


Key = tuple[int, ...]
"""(epoch, index) or, where a rare image comes more than once an epoch, (epoch, index, copy); where the canvas changes from step
to step, (epoch, index, copy, number of the canvas)."""


class TrainSet:
    """Samples of a source under an augmentation.

    Every random choice is a function of (seed, epoch, index, copy), and of the batch's indices where partners come from it.
    """

    def __init__(
        self,
        source: Dataset,
        preprocess: Preprocess,
        *,
        augment: AugmentSpec | None = None,
        seed: int = 0,
        epochs: int | None = None,
        on_error: OnError = "error",
    ) -> None:
        """
        Args:
            source: the records.
            preprocess: the model's: canvas, fill, resize rule. Without augmentation samples lie exactly as in
                evaluation.
            augment: what changes at random; None changes nothing.
            seed: of all choices.
            epochs: of the whole run, from which ``mosaic_off_epochs`` counts back; None never ends the mosaic.
            on_error: ``error`` stops at an undecodable image; ``warn`` gives what of it can be read, or a blank
                sample that adds no loss.
        """
        if len(source) == 0:
            raise DataError(f"data={source.name}: the train split holds no images")
        self.source = source
        self.preprocess = preprocess
        self.augment = augment or AugmentSpec()
        if (name := self.augment.whole_images_only) is not None and not source.labelled <= WHOLE:
            raise DataError(
                f"augment.{name} is for classification: boxes and segmentation maps can't follow it, and data={source.name} "
                f"labels {', '.join(sorted(source.labelled))}"
            )
        if self.augment.mosaic > 0 and source.labelled <= WHOLE:
            raise DataError(
                f"augment.mosaic={self.augment.mosaic} lays four images on one canvas, which then have no one class: "
                "set it to 0, and mix classes with augment.cutmix"
            )
        if self.augment.mixup > 0 and "semantic" in source.labelled:
            raise DataError(
                f"augment.mixup={self.augment.mixup:g}: a pixel of two mixed images has two classes, and a segmentation map of "
                f"data={source.name} can hold one: set it to 0"
            )
        self.seed = seed
        self.epochs = epochs
        self.on_error: OnError = on_error
        self._photometric: Photometric | None = None
        boxed = source.records.has_boxes
        boxed = np.ones(len(source), np.bool_) if boxed is None else boxed
        self._boxed, self._unboxed = np.flatnonzero(boxed), np.flatnonzero(~boxed)
        self._mixes = self.augment.mixup > 0 and "boxes" in source.labelled
        """Whether two images become one here; where images have a class, :class:`effdet.data.collate.MixCollate` does it."""
        self._donors: Donors | None = None
        if self.augment.copy_paste > 0:
            if "boxes" not in source.labelled:
                raise DataError(
                    f"augment.copy_paste={self.augment.copy_paste}: objects are pasted with their boxes, and "
                    f"data={source.name} is read for {', '.join(sorted(source.labelled))}: set it to 0"
                )
            self._donors = Donors(source, self.augment.copy_paste_classes)
        self._class_crop = ClassCrop(source) if self.augment.class_crop > 0 else None
        self._auto_augment: AutoAugmentation | None = None
        self._transforms: Transforms | None = None
        self._canvas = np.empty((*preprocess.size, 3), np.uint8)
        # Copied for each sample: filling three bytes at a time would take as long as decoding an image.
        self._canvas[...] = preprocess.fill

    def __len__(self) -> int:
        return len(self.source)

    @property
    def sizes(self) -> int:
        """Of the canvas, among which a step draws."""
        return 1

    @property
    def largest_size(self) -> tuple[int, int]:
        """(height, width) of the largest canvas of the run."""
        return self.preprocess.size

    @property
    def largest_epoch(self) -> int:
        """An epoch whose canvas is the largest of the run: what its batches need is enough for every other's."""
        return 0

    def warm_up(self) -> None:
        """Builds what is slow to build; called before worker processes are forked, so that they share it."""
        if self._photometric is None:
            self._photometric = Photometric(self.augment)
            self._auto_augment = AutoAugmentation.of(self.augment, fill=self.preprocess.fill)
            if self.augment.transforms:
                self._transforms = Transforms(
                    self.augment.transforms,
                    min_visibility=self.augment.min_visibility,
                    min_box_size=self.augment.min_box_size,
                )

    def __getitem__(self, key: Key) -> Sample:
        """The sample of (epoch, index) or (epoch, index, copy), as the only one of its batch."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[Key]) -> list[Sample]:
        """The samples of a batch, which is how a loader asks for them."""
        self.warm_up()
        whole = [_checked(key) for key in keys]
        mates = np.unique([index for _, index, _ in whole]) if self.augment.partners == "batch" else None
        masks = "semantic" in self.source.labelled
        if mates is None:
            reader = Reader(self.source, on_error=self.on_error, masks=masks)
            return [self._made(self._plan(key, None), reader) for key in whole]
        plans = [self._plan(key, mates) for key in whole]
        reader = BatchReader(self.source, plans, on_error=self.on_error, masks=masks)
        return [self._made(plan, reader) for plan in plans]

    def _plan(self, key: tuple[int, int, int], mates: np.ndarray | None) -> Plan:
        """What the sample shows and where: `mates` are the positions of its batch, (B,) int64 in rising order, None for
        the whole set."""
        epoch, index, copy = key
        rng = generator(self.seed, "augment", epoch, index, copy)
        ends = np.inf if self.epochs is None else self.epochs - self.augment.mosaic_off_epochs
        closing = epoch >= ends
        mosaic = self.augment.mosaic > 0 and not closing and rng.random() < self.augment.mosaic
        parts = self._quarters(index, rng, mates) if mosaic else (self._single(index, rng, closing=closing),)
        paste = None
        if self._donors is not None and not closing and rng.random() < self.augment.copy_paste:
            donor = self._donors(rng)
            paste = Paste(self._single(donor.index, rng, donor.centre), donor.rows)
        if self._mixes and not closing and rng.random() < self.augment.mix:
            share = float(rng.beta(self.augment.mixup, self.augment.mixup))
            over = self._single(int(self._partners(index, rng, mates, 1)[0]), rng)
            return Plan(key, parts, rng, paste, over, share)
        return Plan(key, parts, rng, paste)

    def _single(
        self,
        index: int,
        rng: np.random.Generator,
        centre: tuple[float, float] | None = None,
        *,
        closing: bool = False,
    ) -> Part:
        """One image on the canvas.

        Args:
            index: of the image.
            rng: the sample's generator.
            centre: (y, x) around which a crop is laid; None for one that is drawn.
            closing: whether the epoch is one of the last, of narrower sizes.
        """
        record = self.source.records[index]
        window = self._window(record, rng, self._centre(index, rng) if centre is None else centre, closing=closing)
        if rng.random() < self.augment.hflip:
            window = mirror(window)
        return Part(index, window, exact=not self.augment.moves and not self.augment.shift)

    def _quarters(self, index: int, rng: np.random.Generator, mates: np.ndarray | None) -> tuple[Part, ...]:
        """Four images around a random cross; the sample's own image lies in a random quarter."""
        height, width = self.preprocess.size
        across, down = (round(side * rng.uniform(0.3, 0.7)) for side in (width, height))
        quarters = [
            (0, 0, across, down),
            (across, 0, width, down),
            (0, down, across, height),
            (across, down, width, height),
        ]
        parts = []
        for member, quarter in zip(
            rng.permutation([index, *self._partners(index, rng, mates, 3)]).tolist(), quarters, strict=True
        ):
            if quarter[0] == quarter[2] or quarter[1] == quarter[3]:
                continue
            record, scale = self.source.records[member], self.augment.mosaic_scale
            window = random_scale(
                rng, record.size, self.preprocess, scale=scale, aspect=self.augment.aspect, region=quarter
            )
            parts.append(Part(member, mirror(window) if rng.random() < self.augment.hflip else window))
        return tuple(parts)

    def _made(self, plan: Plan, read: Reader) -> Sample:
        """The sample that `plan` describes."""
        epoch, index, copy = plan.key
        blank = sample = self._blank(index, self.source.records[index])
        for part in plan.parts:
            # One that can't be read leaves its quarter blank, as padding is: what the others teach stays.
            sample = self._laid(sample, part, read) or sample
        if plan.paste is not None and sample is not blank:
            sample = self._pasted(sample, plan.paste, read)
        over = (
            None if plan.over is None else self._laid(self._blank(index, self.source.records[index]), plan.over, read)
        )
        if sample is blank:
            sample = _nothing(blank)
        elif over is not None:
            sample = self._blended(sample, over, plan.share)
        if plan.composed:
            rows, columns = (slice(0, side) for side in self.preprocess.size)
        else:  # the padding keeps the colour that evaluation will show
            rows, columns = plan.parts[0].window.rows, plan.parts[0].window.columns
        sample.image[rows, columns] = self._tint(sample.image[rows, columns], plan.rng)
        sample = self._erased(self._transformed(sample, rows, columns, plan.rng), plan.rng)
        return replace(sample, key=(epoch, index, copy))

    def _blended(self, sample: Sample, over: Sample, share: float) -> Sample:
        """Mixup (Zhang et al. 2017) for boxes, as in Zhang et al. 2019 (bag of freebies): pixels are averaged, and the boxes of
        both are trained on, but for those of an image that less than ``min_visibility`` of is to be seen."""
        import cv2

        kept = [one for one, seen in ((sample, share), (over, 1 - share)) if seen >= self.augment.min_visibility]
        return replace(
            sample,
            image=cv2.addWeighted(sample.image, share, over.image, 1 - share, 0),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in kept)]),
            labels=np.concatenate([np.zeros(0, np.int64), *(one.labels for one in kept)]),
        )

    def _transformed(self, sample: Sample, rows: slice, columns: slice, rng: np.random.Generator) -> Sample:
        """`sample` with the user's own transforms done to the part of the canvas that holds the image."""
        if self._transforms is None:
            return sample
        offset = np.array([columns.start, rows.start] * 2, np.float32)
        mask = None if sample.semantic is None else sample.semantic[rows, columns]
        image, boxes, kept, mask = self._transforms(sample.image[rows, columns], sample.boxes - offset, mask, rng)
        sample.image[rows, columns] = image
        if not self._transforms.moves:
            return sample
        if sample.semantic is not None:
            sample.semantic[rows, columns] = mask
        return replace(sample, boxes=boxes + offset, labels=sample.labels[kept])

    def _centre(self, index: int, rng: np.random.Generator) -> tuple[float, float] | None:
        """The pixel around which to crop, or None for a crop anywhere."""
        if self._class_crop is None or rng.random() >= self.augment.class_crop:
            return None
        try:
            return self._class_crop(index, rng)
        except DataError:
            return None  # the mask is read once more with its image, where this is reported

    def _window(
        self, record: Record, rng: np.random.Generator, centre: tuple[float, float] | None, *, closing: bool
    ) -> Window:
        spec, canvas = self.augment, self.preprocess
        scale = spec.closing_scale if closing and spec.closing_scale is not None else spec.scale
        if scale is not None:
            return random_scale(rng, record.size, canvas, scale=scale, aspect=spec.aspect, centre=centre)
        if spec.area is not None:
            return random_area(rng, record.size, canvas.size, area=spec.area, aspect=spec.aspect, centre=centre)
        window = as_evaluated(record.size, canvas)
        return random_shift(rng, window, canvas.size, spec.shift) if spec.shift else window

    def _partners(self, index: int, rng: np.random.Generator, mates: np.ndarray | None, count: int) -> np.ndarray:
        """(count,) int64 positions of images that label what the one at `index` labels, in the whole set or among `mates`.

        Boxes can't be ignored by quarter: one image of a set without boxes would discard those of all four. Masks can.
        Among `mates` an image comes twice only where there are fewer others than `count`, and the one at `index` only where
        there is no other.
        """
        boxed = self.source.records.has_boxes
        if mates is not None:
            alike = mates[mates != index]
            alike = alike if boxed is None else alike[boxed[alike] == boxed[index]]
            if len(alike) == 0:
                return np.full(count, index)
            return rng.choice(alike, count, replace=len(alike) < count)
        low, high = self.source.beside(index)
        if boxed is None or (boxed[low:high] == boxed[index]).all():
            return rng.integers(low, high, count)
        equal = self._boxed if boxed[index] else self._unboxed
        first, last = np.searchsorted(equal, [low, high])
        return equal[rng.integers(first, last, count)]

    def _blank(self, index: int, record: Record) -> Sample:
        """An empty canvas for the image at `index`, which is `record`."""
        height, width = self.preprocess.size
        canvas = self._canvas.copy()
        masked = "semantic" in self.source.labelled
        return Sample(
            image=canvas,
            boxes=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, np.int64),
            index=index,
            semantic=np.full((height, width), IGNORED, np.uint8) if masked else None,
            category=record.label,
        )

    def _laid(self, sample: Sample, part: Part, read: Reader) -> Sample | None:
        """`sample` with the image of `part` painted into its window, and its boxes added; None where it can't be read."""
        found = self._read(part, read)
        if found is None:
            return None
        record, exact = self.source.records[part.index], part.exact
        window, patch, mask = found
        rows, columns = window.rows, window.columns
        sample.image[rows, columns] = patch
        if mask is not None and sample.semantic is not None:
            sample.semantic[rows, columns] = self._mask(mask, window, exact=exact)
        trained_on = ~record.crowd
        boxes, visible = window.boxes(record.boxes[trained_on])
        kept = self._kept(boxes, visible, moved=not exact)
        return replace(
            sample,
            boxes=np.concatenate([sample.boxes, boxes[kept]]),
            labels=np.concatenate([sample.labels, record.labels[trained_on][kept]]),
            has_boxes=sample.has_boxes and record.has_boxes,
        )

    def _read(self, part: Part, read: Reader) -> tuple[Window, np.ndarray, np.ndarray | None] | None:
        """The window of `part`, moved to whole pixels of the image that was read, its pixels in the target's size, and the
        image's whole segmentation map; None where it can't be read."""
        record, window = self.source.records[part.index], part.window
        try:
            image, mask = read(part)
        except DataError as error:
            if self.on_error == "error":
                raise
            warnings.warn(f"{error}: left blank", stacklevel=2)
            return None
        if part.exact:
            return window, flipped(self.preprocess.geometry(image)[0][window.rows, window.columns], window), mask
        window = snap_to_pixels(window, image.shape[:2], record.size)
        return window, resize_window(image, window, record.size, self.preprocess.interpolation), mask

    def _pasted(self, sample: Sample, paste: Paste, read: Reader) -> Sample:
        """`sample` with objects over it: their pixels, boxes and segmentation map."""
        found = self._read(paste.part, read)
        if found is None:
            return sample
        window, patch, mask = found
        record, exact = self.source.records[paste.part.index], paste.part.exact
        boxes, visible = window.boxes(record.boxes[paste.rows])
        kept = self._kept(boxes, visible, moved=not exact)
        over = np.zeros(sample.image.shape[:2], np.bool_)
        region = over[window.rows, window.columns]
        for row, own in enumerate(self.source.read_objects(paste.part.index, paste.rows)):
            shown = self._mask(own.astype(np.uint8), window, exact=exact) == 1
            kept[row] &= bool(shown.any())
            region |= shown & kept[row]
        if not kept.any():
            return sample
        sample.image[window.rows, window.columns][region] = patch[region]
        if sample.semantic is not None:
            below = sample.semantic[window.rows, window.columns]
            below[region] = IGNORED if mask is None else self._mask(mask, window, exact=exact)[region]
        left_over, visible = uncovered(sample.boxes, over)
        stays = (visible == 1) | self._kept(left_over, visible, moved=True)
        return replace(
            sample,
            boxes=np.concatenate([left_over[stays], boxes[kept]]),
            labels=np.concatenate([sample.labels[stays], record.labels[paste.rows][kept]]),
        )

    def _mask(self, mask: np.ndarray, window: Window, *, exact: bool) -> np.ndarray:
        if not exact:
            return resize_mask(mask, window)
        return flipped(self.preprocess.geometry_mask(mask, ignore=IGNORED)[window.rows, window.columns], window)

    def _kept(self, boxes: np.ndarray, visible: np.ndarray, *, moved: bool) -> np.ndarray:
        """(N,) bool: boxes of which enough is left. Where evaluation's geometry is used, all that have an area stay."""
        sides = boxes[:, 2:] - boxes[:, :2]
        if not moved:
            return np.all(sides > 0, axis=1)
        smallest = max(self.augment.min_box_size, 1e-3)
        return np.logical_and(visible >= self.augment.min_visibility, np.all(sides >= smallest, axis=1))

    def _tint(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert self._photometric is not None, "warm_up() comes first"
        pixels = self._photometric(pixels, rng)
        return pixels if self._auto_augment is None else self._auto_augment(pixels, rng)

    def _erased(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Random erasing; a box that it covers but for `min_visibility` goes, and a mask is ignored there."""
        if not rng.random() < self.augment.erase:
            return sample
        image = np.ascontiguousarray(sample.image)
        left, top, right, bottom = erase(image, rng, self.augment.erase_area)
        if sample.semantic is not None:
            sample.semantic[top:bottom, left:right] = IGNORED
        low = np.maximum(sample.boxes[:, :2], [left, top])
        covered = np.maximum(np.minimum(sample.boxes[:, 2:], [right, bottom]) - low, 0).prod(axis=1)
        whole = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
        kept = covered <= (1 - self.augment.min_visibility) * whole
        return replace(sample, image=image, boxes=sample.boxes[kept], labels=sample.labels[kept])


def _nothing(blank: Sample) -> Sample:
    """A blank canvas that adds no loss."""
    return replace(blank, has_boxes=False, category=None if blank.category is None else -1)


def _checked(key: Key) -> tuple[int, int, int]:
    if not isinstance(key, tuple):
        raise UserError(f"a training sample is asked for by (epoch, index), got {key!r}")
    epoch, index, copy = (*key, 0)[:3]
    return epoch, index, copy
