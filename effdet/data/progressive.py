"""Progressive learning (EfficientNetV2, Tan and Le 2021, section 4): small images first, regularised little; then larger
ones, regularised more. And sizes that change from step to step (``augment.multi_scale``).

The run is cut into stages of equal length. Everything grows in equal steps from what is written here to what the run is set
to: the input's side, RandAugment's magnitude, the alphas of mixup and cutmix, dropout. A stage is a function of the epoch, so
that a resumed run is in the right one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np

from backbones.fields import build
from effdet.data.augment import AugmentSpec
from effdet.data.checks import DataError
from effdet.data.images import OnError
from effdet.data.records import Dataset
from effdet.data.train_set import Key, Sample, TrainSet
from effdet.preprocess import Preprocess
from heads.fields import check_fields


@dataclass(frozen=True)
class Progression:
    """Where each quantity starts; where it ends is what the run is set to."""

    stages: Annotated[int, "1.."] = 1
    """Equal parts of the run (4 in the paper), each at least one epoch; 1 is off."""
    size: Annotated[int, "32.."] | None = None
    """Side of the input in the first stage, pixels; None keeps the final one throughout."""
    magnitude: Annotated[float, "0..30"] = 5.0
    """RandAugment's magnitude (augment.policy_magnitude) in the first stage."""
    mix: Annotated[float, "0..1"] = 0.0
    """Share of the final alphas of mixup and cutmix in the first stage."""
    dropout: Annotated[float, "0..<1"] = 0.1
    """The classifier's dropout in the first stage."""

    def __post_init__(self) -> None:
        check_fields(self, "progressive.", DataError)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings of a configuration section; an unknown key is an error."""
        return build(cls, values, what="progressive", error=DataError)

    def within(self, epochs: int | None) -> Self:
        """The progression of a run of `epochs`: a stage is an epoch at least, so that the last one is always reached."""
        return self if epochs is None else replace(self, stages=min(self.stages, max(epochs, 1)))

    def stage(self, epoch: int, epochs: int | None) -> int:
        """The stage of an epoch of a run of `epochs`.

        Raises:
            DataError: there are stages, but the run has no known end.
        """
        if self.stages == 1:
            return 0
        if epochs is None:
            raise DataError(f"progressive.stages={self.stages} needs to know when the run ends: set trainer.max_epochs")
        return min(epoch * self.stages // epochs, self.stages - 1)

    def between(self, first: float, last: float, stage: int) -> float:
        """The value at `stage` on the straight line from `first` to `last`."""
        return last if stage == self.stages - 1 else first + (last - first) * stage / (self.stages - 1)

    def augment(self, final: AugmentSpec, stage: int) -> AugmentSpec:
        return replace(
            final,
            policy_magnitude=self.between(min(self.magnitude, final.policy_magnitude), final.policy_magnitude, stage),
            mixup=self.between(self.mix * final.mixup, final.mixup, stage),
            cutmix=self.between(self.mix * final.cutmix, final.cutmix, stage),
        )

    def preprocess(self, final: Preprocess, stage: int) -> Preprocess:
        """`final` on the stage's canvas, its sides rounded to whole pixels; the aspect stays."""
        if self.size is None or self.stages == 1:
            return final
        longer = max(final.size)
        factor = self.between(min(self.size, longer), longer, stage) / longer
        size = (round(final.size[0] * factor), round(final.size[1] * factor))
        if min(size) < 1:
            raise DataError(
                f"progressive.size={self.size}: the first stage of image_size={list(final.size)} would be "
                f"{list(size)} pixels: set progressive.size to at least {math.ceil(longer / min(final.size))}"
            )
        return final.fitted(size)

    def dropout_at(self, final: float, stage: int) -> float:
        return self.between(min(self.dropout, final), final, stage)


STEP, SIZES = 32, 5
"""Sides of a canvas are multiples of the backbone's stride, in so many sizes: few enough for a compiled model to have each."""


def canvas_sizes(size: tuple[int, int], span: tuple[float, float]) -> list[tuple[int, int]]:
    """Up to 5 canvases (height, width) at equal distances from `span[0]` to `span[1]` times `size`, the smallest first.

    Raises:
        DataError: there is only one.
    """
    found = {
        (max(STEP, round(size[0] * factor / STEP) * STEP), max(STEP, round(size[1] * factor / STEP) * STEP))
        for factor in np.linspace(*span, SIZES)
    }
    if len(found) == 1:
        raise DataError(
            f"augment.multi_scale={list(span)} of image_size={list(size)} is one size, {list(*found)}, in multiples of {STEP} "
            "pixels: widen the range, or set it to null"
        )
    return sorted(found)


class StagedTrainSet(TrainSet):
    """A training set whose canvas and augmentation follow the epoch, and whose canvas may follow the step.

    Args:
        source, preprocess, augment, seed, epochs, policy: as for :class:`TrainSet`; those of the last stage.
        progression: how they get there.
    """

    def __init__(
        self,
        source: Dataset,
        preprocess: Preprocess,
        *,
        progression: Progression,
        augment: AugmentSpec,
        epochs: int | None,
        seed: int = 0,
        on_error: OnError = "error",
    ) -> None:
        super().__init__(source, preprocess, augment=augment, seed=seed, epochs=epochs, on_error=on_error)
        self.progression = progression
        if augment.multi_scale is not None and progression.stages > 1 and progression.size is not None:
            raise DataError(
                f"progressive.size={progression.size} augment.multi_scale={list(augment.multi_scale)}: both choose the canvas; "
                "give one of them"
            )
        self._stages: list[list[TrainSet]] = []
        for stage in range(progression.stages):
            fitted = progression.preprocess(preprocess, stage)
            sizes = None if augment.multi_scale is None else canvas_sizes(fitted.size, augment.multi_scale)
            self._stages.append(
                [
                    TrainSet(
                        source,
                        each,
                        augment=progression.augment(augment, stage),
                        seed=seed,
                        epochs=epochs,
                        on_error=on_error,
                    )
                    for each in ([fitted] if sizes is None else [fitted.fitted(size) for size in sizes])
                ]
            )
        self._stage(0)

    def _stage(self, epoch: int, canvas: int = -1) -> TrainSet:
        """The set of an epoch, on the canvas of that number; the largest by default."""
        return self._stages[self.progression.stage(epoch, self.epochs)][canvas]

    @property
    def sizes(self) -> int:
        return len(self._stages[-1])

    @property
    def largest_size(self) -> tuple[int, int]:
        return max((stage[-1].preprocess.size for stage in self._stages), key=lambda size: size[0] * size[1])

    def augment_at(self, epoch: int) -> AugmentSpec:
        """The augmentation of `epoch`."""
        return self._stage(epoch).augment

    @property
    def largest_epoch(self) -> int:
        stages, epochs = self.progression.stages, self.epochs
        if stages == 1 or epochs is None:
            return 0
        begins = {self.progression.stage(epoch, epochs): epoch for epoch in reversed(range(epochs))}
        return max(begins.values(), key=lambda epoch: int(np.prod(self._stage(epoch).preprocess.size)))

    def warm_up(self) -> None:
        for one in (one for stage in self._stages for one in stage):
            one.warm_up()

    def __getitems__(self, keys: Sequence[Key]) -> list[Sample]:
        first = keys[0]
        if not isinstance(first, tuple):
            return super().__getitems__(keys)  # which says what a key is
        return self._stage(first[0], first[3] if len(first) > 3 else -1).__getitems__([key[:3] for key in keys])
